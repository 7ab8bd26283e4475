-- How many answers each check looked at, and how many it found wrong: counted from the grades that are there.
INSERT INTO counters (kind, key, value)
SELECT 'checked', grade.key, COUNT(*) FROM candidates, json_each(candidates.grades) AS grade
WHERE grade.key LIKE 'check.%' GROUP BY grade.key;
INSERT INTO counters (kind, key, value)
SELECT 'checked_wrong', grade.key, COUNT(*) FROM candidates, json_each(candidates.grades) AS grade
WHERE grade.key LIKE 'check.%' AND grade.value < 1 GROUP BY grade.key;
