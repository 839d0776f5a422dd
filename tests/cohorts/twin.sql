-- The slow twin of data/people.py: one query per column, in the manner of OHDSI's FeatureExtraction and CohortMethod.
-- Features are per person in the manner of its templates (ROW_NUMBER for the last value, windows by DATEDIFF).
CREATE MACRO below(c) AS TABLE SELECT descendant_concept_id AS id FROM concept_ancestor WHERE ancestor_concept_id = c;
CREATE TABLE entries AS
    SELECT person_id, drug, day, end_day, observation_period_start_date AS seen_from, seen_to FROM (
        SELECT d.person_id, a.ancestor_concept_id AS drug, drug_exposure_start_date AS day,
            row_number() OVER (PARTITION BY d.person_id, a.ancestor_concept_id ORDER BY drug_exposure_start_date) AS nth
        FROM drug_exposure d JOIN concept_ancestor a ON d.drug_concept_id = a.descendant_concept_id
        WHERE a.ancestor_concept_id IN (101, 102)
    ) JOIN (SELECT *, observation_period_end_date AS seen_to FROM observation_period) o USING (person_id)
    JOIN person p USING (person_id),
    LATERAL (SELECT CASE WHEN drug = 101 THEN least(seen_to, day + 300) ELSE seen_to END AS end_day)
    WHERE nth = 1 AND day BETWEEN observation_period_start_date + 10 AND seen_to AND year(day) - year_of_birth >= 40;
CREATE TABLE both_drugs AS
    SELECT person_id, one.day AS one, other.day AS other, one.end_day AS one_end, other.end_day AS other_end
    FROM (FROM entries WHERE drug = 101) one FULL JOIN (FROM entries WHERE drug = 102) other USING (person_id);
CREATE TABLE dated AS
    SELECT person_id, CASE WHEN one < other OR other IS NULL THEN 1 ELSE 0 END AS treated,
        CASE WHEN one < other OR other IS NULL THEN one ELSE other END AS day,
        CASE WHEN one < other OR other IS NULL THEN one_end ELSE other_end END AS end_day
    FROM both_drugs WHERE one IS DISTINCT FROM other;
CREATE TABLE bleeds AS SELECT person_id, condition_start_date AS bled FROM condition_occurrence
    SEMI JOIN below(202) b ON condition_concept_id = b.id;
CREATE TABLE risk AS
    SELECT *, least(end_day, coalesce(death_date, end_day)) AS stop FROM dated LEFT JOIN death USING (person_id);
CREATE TABLE chosen AS FROM risk WHERE stop >= day + 30
    AND NOT EXISTS (FROM bleeds b WHERE b.person_id = risk.person_id AND bled < day + 1);
CREATE TABLE sores AS SELECT person_id, condition_start_date AS sore FROM condition_occurrence
    SEMI JOIN below(201) b ON condition_concept_id = b.id;
CREATE TABLE happens AS
    SELECT person_id, least(stop, day + 120) AS until,
        (SELECT min(bled) FROM bleeds b WHERE b.person_id = c.person_id AND bled BETWEEN day + 1 AND least(stop, day + 120))
            AS bled,
        (SELECT min(sore) FROM sores s WHERE s.person_id = c.person_id AND sore BETWEEN day + 1 AND least(stop, day + 120))
            AS sore
    FROM chosen c;
CREATE TABLE taken AS SELECT DISTINCT person_id, drug_concept_id <> 102 AS one, unnest(generate_series(
        greatest(drug_era_start_date, day - 60), least(drug_era_end_date, day + 30), INTERVAL 1 DAY)) AS took
    FROM drug_era JOIN chosen USING (person_id)
    WHERE drug_concept_id IN (101, 102, 111) AND drug_era_start_date <= day + 30 AND drug_era_end_date >= day - 60;
CREATE TABLE happened AS
    SELECT person_id, min(bled) FILTER (bled BETWEEN day + 1 AND least(stop, day + 180)) AS first_bleed,
        min(bled) FILTER (bled BETWEEN day + 30 AND stop) AS late_bleed
    FROM chosen LEFT JOIN bleeds USING (person_id) GROUP BY ALL;
CREATE TABLE ulcers AS SELECT person_id, condition_start_date - day AS off FROM condition_occurrence
    JOIN chosen USING (person_id) WHERE condition_concept_id IN (SELECT id FROM below(201));
CREATE TABLE sugar AS SELECT person_id, measurement_date - day AS off, value_as_number AS value, unit_concept_id AS unit
    FROM measurement JOIN chosen USING (person_id) WHERE measurement_concept_id = 301 AND value_as_number IS NOT NULL;
CREATE TABLE daily AS SELECT person_id, off, avg(value) AS value FROM sugar WHERE unit = 8554 GROUP BY ALL;
CREATE TABLE converted AS SELECT person_id, off,
    avg(CASE WHEN unit = 8554 THEN value ELSE 0.0915 * value + 2.15 END) AS value FROM sugar GROUP BY ALL;
CREATE TABLE visited AS SELECT person_id, visit_start_date - day AS off, visit_concept_id AS kind,
    coalesce(visit_end_date, visit_start_date) - visit_start_date AS stayed
    FROM visit_occurrence JOIN chosen USING (person_id);
CREATE TABLE comorbid AS SELECT DISTINCT person_id, ancestor_concept_id AS disease FROM condition_occurrence
    JOIN concept_ancestor ON condition_concept_id = descendant_concept_id JOIN chosen USING (person_id)
    WHERE condition_start_date <= day AND ancestor_concept_id IN (201820, 443767);
SELECT person_id, treated,
    year(day) - year_of_birth AS age, year(day) AS year, month(day) AS month,
    day - observation_period_start_date AS seen,
    CASE gender_concept_id WHEN 8532 THEN 'female' WHEN 8507 THEN 'male' END AS sex,
    (SELECT coalesce(sum(CASE disease WHEN 201820 THEN 1 ELSE 2 END), 0) FROM comorbid m WHERE m.person_id = c.person_id)
        AS charlson,
    EXISTS (FROM ulcers u WHERE u.person_id = c.person_id AND off BETWEEN -30 AND 0) AS ulcer,
    (SELECT count(*) FROM ulcers u WHERE u.person_id = c.person_id AND off <= -1) AS ulcers,
    (SELECT min(-off) FROM ulcers u WHERE u.person_id = c.person_id AND off <= 0) AS since,
    EXISTS (FROM ulcers u WHERE u.person_id = c.person_id AND off BETWEEN 0 AND 30) AS later,
    (SELECT value FROM converted s WHERE s.person_id = c.person_id AND off <= 0 ORDER BY off DESC LIMIT 1) AS last,
    (SELECT value FROM daily s WHERE s.person_id = c.person_id AND off <= 0 ORDER BY off LIMIT 1) AS first,
    (SELECT avg(value) FROM sugar s WHERE s.person_id = c.person_id AND unit = 8554 AND off BETWEEN -200 AND 0) AS mean,
    (SELECT min(value) FROM sugar s WHERE s.person_id = c.person_id AND unit = 8554 AND off <= 0) AS low,
    (SELECT max(value) FROM sugar s WHERE s.person_id = c.person_id AND unit = 8554 AND off <= 0) AS high,
    (SELECT CASE WHEN count(DISTINCT off) > 1 THEN 365.25 * regr_slope(value, off) END FROM sugar s
        WHERE s.person_id = c.person_id AND unit = 8554 AND off <= 90) AS trend,
    (SELECT count(*) FROM visited v WHERE v.person_id = c.person_id AND off BETWEEN -100 AND 0) AS visits,
    (SELECT coalesce(sum(stayed), 0) FROM visited v WHERE v.person_id = c.person_id AND kind = 9201 AND off <= 0) AS stay,
    EXISTS (FROM drug_exposure d WHERE d.person_id = c.person_id AND drug_concept_id IN (101, 111)
        AND drug_exposure_start_date BETWEEN day - 60 AND day) AS drug_RxNorm_1,
    EXISTS (FROM drug_exposure d WHERE d.person_id = c.person_id AND drug_concept_id = 102
        AND drug_exposure_start_date BETWEEN day - 60 AND day) AS drug_RxNorm_2,
    first_bleed IS NOT NULL AS bleed, coalesce(first_bleed, least(stop, day + 180)) - day AS bleed_time,
    CASE WHEN bled <= sore OR (bled IS NOT NULL AND sore IS NULL) THEN 'bleeding' WHEN sore IS NOT NULL THEN 'sore'
        ELSE 'none' END AS what,
    coalesce(least(bled, sore), until) - day AS what_time,
    (SELECT count(*) FROM taken t JOIN taken u USING (person_id, took) WHERE t.person_id = c.person_id AND t.one
        AND NOT u.one) AS both,
    late_bleed IS NOT NULL AS late, coalesce(late_bleed, stop) - day - 29 AS late_time
FROM chosen c JOIN happened USING (person_id) JOIN happens USING (person_id) JOIN person USING (person_id) JOIN observation_period USING (person_id) ORDER BY person_id;
