-- What tokens were spent on, counted from what is there: endpoint/recipe/category.
CREATE TEMP TABLE spent_for AS
SELECT
    completions.endpoint || '/' || CASE
        WHEN instr(requests.purpose, '.') THEN substr(requests.purpose, 1, instr(requests.purpose, '.') - 1)
        ELSE requests.purpose
    END || '/' || requests.requested_category AS key,
    completions.prompt_tokens AS prompt_tokens,
    completions.completion_tokens AS completion_tokens
FROM completions JOIN requests ON requests.id = completions.request_id;

INSERT INTO counters (kind, key, value) SELECT 'answered_for', key, COUNT(*) FROM spent_for GROUP BY key;
INSERT INTO counters (kind, key, value)
SELECT 'prompt_tokens_for', key, SUM(prompt_tokens) FROM spent_for GROUP BY key;
INSERT INTO counters (kind, key, value)
SELECT 'completion_tokens_for', key, SUM(completion_tokens) FROM spent_for GROUP BY key;
DROP TABLE spent_for;
