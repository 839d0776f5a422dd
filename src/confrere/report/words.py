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
    "effect": ("effect of a treatment", "effet d’un traitement"),
    "overlap": ("overlap of cohorts", "chevauchement de cohortes"),
    "pathways": ("treatment pathways", "parcours de traitement"),
    "occurrence": ("incidence or prevalence", "incidence ou prévalence"),
    "person_time": ("rates before, during and after an exposure", "taux avant, pendant et après une exposition"),
    "cohort": ("size of a cohort", "taille d’une cohorte"),
    "feasibility": ("feasibility of a study", "faisabilité d’une étude"),
    "pca": ("principal components", "composantes principales"),
    "kmeans": ("clusters by k-means", "groupes par k-means"),
    "mixture": ("classes of a mixture", "classes d’un mélange"),
    "boosting": ("gradient boosted trees", "arbres de décision par gradient boosting"),
    "worklist": ("eligibility screening", "présélection des patients éligibles"),
    "recruitment": ("screening for a trial", "présélection pour un essai"),
    "enrolment": ("progress of recruitment", "avancement du recrutement"),
}

LABELS = {
    "metrics": ("how well it predicts", "qualité des prédictions"),
    "metric": ("metric", "mesure"),
    "sample": ("sample", "échantillon"),
    "roc": ("ROC curve", "courbe ROC"),
    "true_positive_rate": ("sensitivity", "sensibilité"),
    "false_positive_rate": ("1 − specificity", "1 − spécificité"),
    "importance": ("importance of features", "importance des variables"),
    "feature": ("feature", "variable"),
    "total_gain": ("gain", "gain"),
    "components": ("components", "composantes"),
    "mean": ("mean", "moyenne"),
    "explained": ("share explained", "part expliquée"),
    "rounds": ("rounds", "tours"),
    "withinss": ("squares within", "carrés intra-groupe"),
    "tot_withinss": ("squares within, in all", "carrés intra-groupes, au total"),
    "betweenss": ("squares between", "carrés inter-groupes"),
    "component": ("component", "composante"),
    "loadings": ("loadings", "poids des variables"),
    "loading": ("loading", "poids"),
    "variance": ("variance", "variance"),
    "proportion": ("share of variance", "part de variance"),
    "cumulative": ("cumulative share", "part cumulée"),
    "by_chance": ("by chance", "par hasard"),
    "kept": ("kept", "retenue"),
    "clusters": ("clusters", "groupes"),
    "cluster": ("cluster", "groupe"),
    "profiles": ("profiles of the clusters", "profils des groupes"),
    "rest_mean": ("mean of the rest", "moyenne des autres"),
    "rest_std_dev": ("SD of the rest", "écart-type des autres"),
    "silhouette": ("silhouette", "silhouette"),
    "stability": ("stability", "stabilité"),
    "splits": ("splits", "partages"),
    "agreement": ("agreement (adjusted Rand)", "accord (Rand ajusté)"),
    "least": ("least", "minimum"),
    "replication": ("replication", "réplication"),
    "learnt": ("learnt at", "appris à"),
    "held_out": ("repeated at", "refait à"),
    "parameters": ("parameters", "paramètres"),
    "covariances": ("covariances", "covariances"),
    "covariance": ("covariance", "covariance"),
    "correlation": ("correlation", "corrélation"),
    "converged": ("converged", "convergé"),
    "effects": ("effects", "effets"),
    "arms": ("arms", "bras"),
    "arm": ("arm", "bras"),
    "treated": ("treated", "traités"),
    "untreated": ("untreated", "non traités"),
    "balance": ("balance of the arms", "équilibre des bras"),
    "propensity": ("propensity of treatment", "score de propension"),
    "effective_n": ("effective n", "n efficace"),
    "smd_before": ("SMD before", "DMS avant"),
    "smd_after": ("SMD after", "DMS après"),
    "variance_ratio": ("variance ratio", "rapport des variances"),
    "propensity_from": ("propensity from", "propension de"),
    "propensity_to": ("to", "à"),
    "ratio": ("ratio", "rapport"),
    "ratio_low": ("ratio, lower limit", "rapport, limite inférieure"),
    "ratio_high": ("ratio, upper limit", "rapport, limite supérieure"),
    "equipoise": ("share in equipoise", "part en équipoise"),
    "sensitivity": ("sensitivity to what was not measured", "sensibilité à ce qui n’a pas été mesuré"),
    "e_value": ("E-value", "E-value"),
    "e_value_limit": ("E-value of the limit", "E-value de la limite"),
    "risk_ratio": ("risk ratio (approximate)", "rapport de risques (approché)"),
    "tipping": ("tipping point", "point de bascule"),
    "tipping_missing": ("tipping point, missing outcomes", "point de bascule, issues manquantes"),
    "as it is": ("as it is", "tel quel"),
    "rare outcome": ("rare outcome", "issue rare"),
    "common outcome": ("common outcome", "issue fréquente"),
    "standardised difference": ("standardised difference", "différence standardisée"),
    "ratio of the means": ("ratio of the means", "rapport des moyennes"),
    "controls": ("control outcomes and treatments", "issues et traitements témoins"),
    "calibrated": ("effects, calibrated by controls", "effets, calibrés par les témoins"),
    "diagnostics": ("diagnostics of the design", "diagnostics du plan"),
    "diagnostic": ("diagnostic", "diagnostic"),
    "value": ("value", "valeur"),
    "threshold": ("threshold", "seuil"),
    "passed": ("passed", "respecté"),
    "truth": ("true ratio", "rapport vrai"),
    "ease": ("expected absolute systematic error", "erreur systématique absolue attendue"),
    "error_mean": ("mean error", "erreur moyenne"),
    "error_slope": ("slope of errors", "pente des erreurs"),
    "error_sd": ("SD of errors", "écart-type des erreurs"),
    "error_sd_slope": ("slope of their SD", "pente de leur écart-type"),
    "negative_controls": ("negative controls", "témoins négatifs"),
    "positive_controls": ("positive controls", "témoins positifs"),
    "outcome_sd": ("SD of the outcome", "écart-type de l’issue"),
    "beside": ("outcomes beside", "autres issues"),
    "smd": ("standardised mean difference", "différence moyenne standardisée"),
    "trimmed": ("share trimmed", "part écartée"),
    "estimator": ("estimator", "estimateur"),
    "estimand": ("estimand", "estimande"),
    "family": ("family", "famille"),
    "confounders": ("confounders", "facteurs de confusion"),
    "treatment": ("treatment", "traitement"),
    "risk difference": ("risk difference", "différence de risques"),
    "mean difference": ("mean difference", "différence de moyennes"),
    "risk ratio": ("risk ratio", "rapport de risques (cumulés)"),
    "hazard ratio": ("hazard ratio", "rapport de risques (instantanés)"),
    "odds ratio": ("odds ratio", "rapport de cotes"),
    "rate ratio": ("rate ratio", "rapport de taux"),
    "iptw": ("propensity weighting", "pondération par le score de propension"),
    "gformula": ("g-formula", "g-formule"),
    "aipw": ("augmented weighting", "pondération augmentée"),
    "RMST difference": ("difference of restricted means", "différence de moyennes restreintes"),
    "ATE": ("everybody (ATE)", "tout le monde (ATE)"),
    "ATT": ("the treated (ATT)", "les traités (ATT)"),
    "ATO": ("the overlap population (ATO)", "la population de recouvrement (ATO)"),
    "ATM": ("those whom matching aims at (ATM)", "ceux que vise l’appariement (ATM)"),
    "intention to treat": ("intention to treat", "en intention de traiter"),
    "per protocol": ("per protocol", "selon le protocole"),
    "at random at time zero; people and physicians know the strategy": (
        "at random at time zero; people and physicians know the strategy",
        "au hasard au temps zéro ; patients et médecins connaissent la stratégie",
    ),
    "risks": ("risks", "risques"),
    "sums": ("sums", "sommes"),
    "powers": ("powers", "puissances"),
    "alone": ("meet it alone", "le remplissent, pris seul"),
    "unknown": ("unknown", "inconnu"),
    "without": ("all criteria without it", "tous les critères sauf lui"),
    "gain": ("more people without it", "personnes en plus sans lui"),
    "shapley": ("lost to it (Shapley)", "perdues par lui (Shapley)"),
    "measure": ("measure", "mesure"),
    "number": ("number", "numéro"),
    "variant": ("variant", "variante"),
    "variants": ("variants of criteria", "variantes de critères"),
    "patterns": ("people by pattern of criteria", "personnes par profil de critères"),
    "pattern": ("pattern", "profil"),
    "breakdown": ("who meets all criteria", "qui remplit tous les critères"),
    "entries": ("entries by month", "entrées par mois"),
    "accrual": ("expected accrual", "recrutement attendu"),
    "from": ("from", "de"),
    "until": ("until", "à"),
    "per_month": ("per month", "par mois"),
    "month": ("month", "mois"),
    "month_low": ("per month, lower limit", "par mois, limite inférieure"),
    "month_high": ("per month, upper limit", "par mois, limite supérieure"),
    "year": ("year", "année"),
    "sex": ("sex", "sexe"),
    "age": ("age", "âge"),
    "region": ("region", "région"),
    "level": ("level", "modalité"),
    "accrual_from": ("accrual rests on months from", "recrutement fondé sur les mois de"),
    "accrual_until": ("until", "à"),
    "accrual_people": ("people of these months", "personnes de ces mois"),
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
    "within": ("days in which the entry event must lie", "jours où l’événement d’entrée doit se situer"),
    "as_of": ("at the end of", "à la fin du"),
    "contact": ("leads to contact for research", "mène à un contact pour la recherche"),
    "steps": ("steps", "étapes"),
    "study": ("study of the list", "étude de la liste"),
    "funnel": ("funnel of the criteria", "entonnoir des critères"),
    "screened": ("screened", "examinés"),
    "not ruled out": ("not ruled out", "non exclus"),
    "entry event": ("entry event", "évènement d’entrée"),
    "inclusion rule": ("inclusion rule", "règle d’inclusion"),
    "meet all criteria": ("meet all criteria", "remplissent tous les critères"),
    "recent entry event": ("recent entry event", "événement d’entrée récent"),
    "not cut off by censoring": ("not cut off by censoring", "non écartés par la censure"),
    "few criteria unknown": ("few criteria unknown", "peu de critères inconnus"),
    "seen": ("seen by a clinician", "vus par un clinicien"),
    "read": ("read and decided", "lus et décidés"),
    "found eligible": ("found eligible", "jugés éligibles"),
    "contacted": ("contacted", "contactés"),
    "answered": ("answered", "ont répondu"),
    "consented": ("consented", "ont consenti"),
    "enrolled": ("enrolled", "inclus"),
    "rates": ("rates", "taux"),
    "ratios": ("ratios of rates", "rapports de taux"),
    "prevalence": ("prevalence", "prévalence"),
    "standardised": ("standardised rate", "taux standardisé"),
    "overlap": ("people by combination of cohorts", "personnes par combinaison de cohortes"),
    "totals": ("sizes of the cohorts", "effectifs des cohortes"),
    "pathways": ("treatment pathways", "parcours de traitement"),
    "state": ("state", "état"),
    "stratum": ("stratum", "strate"),
    "before": ("before", "avant"),
    "exposed": ("exposed", "exposés"),
    "after": ("after", "après"),
    "female": ("female", "femmes"),
    "male": ("male", "hommes"),
    "person_years": ("person-years", "personnes-années"),
    "cases": ("cases", "cas"),
    "cohorts": ("cohorts", "cohortes"),
    "other": ("other", "autre"),
    "not followed further": ("not followed further", "non suivis plus loin"),
    "three or more together": ("three or more together", "trois ou plus ensemble"),
    "line_1": ("first line", "première ligne"),
    "line_2": ("second line", "deuxième ligne"),
    "line_3": ("third line", "troisième ligne"),
    "line_4": ("fourth line", "quatrième ligne"),
    "line_5": ("fifth line", "cinquième ligne"),
    "crude": ("crude", "brut"),
    "Mantel-Haenszel": ("Mantel–Haenszel", "Mantel-Haenszel"),
    "all": ("all", "tous"),
    "standard": ("standard population", "population de référence"),
    "bands": ("bands of age", "tranches d’âge"),
    "p_value": ("P", "p"),
    "incidence": ("incidence", "incidence"),
    "point prevalence": ("prevalence on 1 July", "prévalence au 1er juillet"),
    "period prevalence": ("prevalence in the year", "prévalence dans l’année"),
    "outcome": ("outcome", "critère de jugement"),
    "rr_low": ("lower limit", "limite inférieure"),
    "rr_high": ("upper limit", "limite supérieure"),
    "washout": ("wash-out, days", "délai préalable, jours"),
    "exposure": ("exposure", "exposition"),
    "lag": ("lag, days", "délai après le début, jours"),
    "carry_over": ("carry-over, days", "prolongation, jours"),
    "gap": ("gap, days", "interruption, jours"),
    "overlap_days": ("overlap, days", "recouvrement, jours"),
    "lines": ("lines", "lignes"),
    "treatments": ("treatments", "traitements"),
    "target": ("target", "cohorte cible"),
    "ages": ("ages", "âges"),
    "sexes": ("sexes", "sexes"),
    "of": ("of", "de"),
    "cohort": ("cohort", "cohorte"),
    "share": ("share", "part"),
    "among": ("among", "parmi"),
}
