"""What the report says, in English and in French.

The English text is the key: `words("Number at risk")`. A text without its French is an error, which the
tests find by printing a whole report in French. Names that come from a result (`label`) are different: those
that are known get a proper name, any other is shown as it stands, without its underscores.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from confrere.errors import StudyError
from confrere.report.numerals import FIRM, Language, Numerals


@cache
def french() -> dict[str, str]:
    """The catalogue `fr.json`: English text to French."""
    text = files("confrere.report").joinpath("fr.json").read_text(encoding="utf-8")
    catalogue: dict[str, str] = json.loads(text)
    # The blank before a colon or semicolon must not be where a line ends.
    return {english: said.replace(" :", f"{FIRM}:").replace(" ;", f"{FIRM};") for english, said in catalogue.items()}


def language(name: str) -> Language:
    """The language of this name: en or fr. Raises StudyError for another."""
    if name not in ("en", "fr"):
        raise StudyError(f"the language {name!r} is not known; it is en or fr")
    return "fr" if name == "fr" else "en"


@dataclass(frozen=True)
class Words:
    """The words and numbers of one language."""

    lang: Language = "en"

    @property
    def numbers(self) -> Numerals:
        """How this language writes numbers."""
        return Numerals(self.lang)

    @property
    def p(self) -> str:
        """The head of a column of P values."""
        return "p" if self.lang == "fr" else "P"

    @property
    def colon(self) -> str:
        """A colon as the language spaces it."""
        return f"{FIRM}: " if self.lang == "fr" else ": "

    def __call__(self, text: str, **values: object) -> str:
        """`text` in the language, its {fields} filled."""
        said = french()[text] if self.lang == "fr" else text
        return said.format(**values) if values else said

    def label(self, name: str) -> str:
        """A field, method or unit as a person would name it."""
        english, french = LABELS.get(name, (name.replace("_", " "),) * 2)
        return french if self.lang == "fr" else english

    def title(self, name: str) -> str:
        """`label`, with a capital where it is a known word (a variable's own name is never changed)."""
        said = self.label(name)
        return said[:1].upper() + said[1:] if name in LABELS or "_" in name else said

    def method(self, name: str) -> str:
        """The name of a method in full."""
        english, french = METHODS.get(name, (name.replace("_", " "),) * 2)
        shown = french if self.lang == "fr" else english
        return shown[:1].upper() + shown[1:]

    def interval(self, level: float = 0.95) -> str:
        """`95% CI`."""
        share = self.numbers.percent(level, 0 if abs(100 * level - round(100 * level)) < 1e-9 else 1)
        return f"IC à {share}" if self.lang == "fr" else f"{share} CI"


METHODS = {
    "describe": ("description of the patients", "description des patients"),
    "kaplan_meier": ("Kaplan–Meier estimate of survival", "estimation de Kaplan-Meier de la survie"),
    "logrank": ("log-rank test", "test du log-rank"),
    "cox": ("Cox proportional hazards regression", "régression de Cox à risques proportionnels"),
    "competing_risks": ("cumulative incidence with competing risks", "incidence cumulée avec risques concurrents"),
    "cause-specific": ("cause-specific Cox regression", "régression de Cox par cause"),
    "fine-gray": ("Fine–Gray subdistribution hazards regression", "régression de Fine et Gray"),
    "linear": ("linear regression", "régression linéaire"),
    "logistic": ("logistic regression", "régression logistique"),
    "poisson": ("Poisson regression", "régression de Poisson"),
    "glm": ("generalised linear model", "modèle linéaire généralisé"),
    "cohort": ("size of a cohort", "taille d’une cohorte"),
    "worklist": ("eligibility screening", "présélection des patients éligibles"),
}

LABELS = {
    "days": ("days", "jours"),
    "weeks": ("weeks", "semaines"),
    "months": ("months", "mois"),
    "years": ("years", "ans"),
    "group": ("group", "groupe"),
    "cause": ("cause", "cause"),
    "term": ("term", "terme"),
    "time": ("time", "temps"),
    "tau": ("horizon", "horizon"),
    "test": ("test", "test"),
    "transform": ("transformation of time", "transformation du temps"),
    "statistic": ("statistic", "statistique"),
    "df": ("df", "ddl"),
    "n": ("n", "n"),
    "estimate": ("estimate", "estimation"),
    "std_error": ("SE", "erreur type"),
    "robust_se": ("robust SE", "erreur type robuste"),
    "step": ("step", "étape"),
    "reason": ("reason", "motif"),
    "hazard_ratio": ("hazard ratio", "rapport de risques"),
    "odds_ratio": ("odds ratio", "rapport de cotes"),
    "rate_ratio": ("rate ratio", "rapport de taux"),
    "log_likelihood": ("log likelihood", "log-vraisemblance"),
    "log_likelihood_null": ("log likelihood without terms", "log-vraisemblance sans terme"),
    "concordance": ("concordance", "concordance"),
    "concordance_std_error": ("SE of concordance", "erreur type de la concordance"),
    "iterations": ("iterations", "itérations"),
    "grid": ("time grid", "grille de temps"),
    "aic": ("AIC", "AIC"),
    "deviance": ("deviance", "déviance"),
    "dispersion": ("dispersion", "dispersion"),
    "formula": ("formula", "formule"),
    "ties": ("ties", "ex æquo"),
    "baseline": ("baseline hazard", "risque de base"),
    "columns": ("columns", "colonnes"),
    "by": ("by", "par"),
    "conf_level": ("confidence level", "niveau de confiance"),
    "logrank": ("log-rank", "log-rank"),
    "likelihood_ratio": ("likelihood ratio", "rapport de vraisemblance"),
    "likelihood ratio": ("likelihood ratio", "rapport de vraisemblance"),
    "wald": ("Wald", "Wald"),
    "score": ("score", "score"),
    "global": ("all terms together", "tous les termes ensemble"),
    "GLOBAL": ("all terms together", "tous les termes ensemble"),
    "identity": ("time", "temps"),
    "log": ("log time", "log du temps"),
    "support": ("support", "support"),
    "cells": ("cells", "cases"),
    "moments": ("moments", "moments"),
    "ask": ("ask", "demande"),
    "counts": ("counts", "effectifs"),
    "kinds": ("kinds", "sortes"),
    "blocks": ("blocks", "blocs"),
    "chains": ("chains", "chaînes"),
    "blocks and groups": ("blocks and groups", "blocs et groupes"),
    "groups and cells": ("groups and cells", "groupes et cases"),
    "groups and levels": ("groups and levels", "groupes et modalités"),
    "derived": ("derived", "dérivé"),
    "groups": ("groups", "groupes"),
    "levels": ("levels", "modalités"),
    "terms": ("terms", "termes"),
    "times": ("times", "temps"),
    "strata": ("strata", "strates"),
    "causes": ("causes", "causes"),
    "people": ("people", "personnes"),
    "records read": ("records read", "dossiers lus"),
    "left out": ("left out", "exclus"),
    "analysed": ("analysed", "analysés"),
    "robust Wald": ("robust Wald", "Wald robuste"),
    "observed": ("observed", "observés"),
    "expected": ("expected", "attendus"),
    "at_risk": ("at risk", "à risque"),
    "events": ("events", "événements"),
    "censored": ("censored", "censurés"),
    "conf_low": ("lower limit", "limite inférieure"),
    "conf_high": ("upper limit", "limite supérieure"),
    "conf_type": ("scale of the limits", "échelle des limites"),
    "std_dev": ("SD", "écart-type"),
    "quantiles": ("quantiles", "quantiles"),
    "k": ("least people behind a count", "effectif minimal"),
    "model": ("model", "modèle"),
    "concordance_se": ("SE of concordance", "erreur type de la concordance"),
    "rounds_of_the_fit": ("rounds of the fit", "tours de l’ajustement"),
    "variables": ("variables", "variables"),
    "title": ("title", "titre"),
    "purpose": ("purpose", "finalité"),
    "criteria": ("criteria", "critères"),
    "criterion": ("criterion", "critère"),
    "show": ("columns shown", "colonnes montrées"),
    "order_by": ("ordered by", "ordonné par"),
    "funnel": ("funnel of the criteria", "entonnoir des critères"),
    "screened": ("screened", "examinés"),
    "not ruled out": ("not ruled out", "non exclus"),
    "entry event": ("entry event", "évènement d’entrée"),
    "inclusion rule": ("inclusion rule", "règle d’inclusion"),
    "meet all criteria": ("meet all criteria", "remplissent tous les critères"),
}
