"""Generate rows with distilabel: one `TextGeneration` step on an OpenAI-compatible server.

Its step hands a batch to the model's client at once, so the batch is what is in flight.
"""

import argparse

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--prompt", required=True)
    chosen = parser.parse_args()
    rows = [{"instruction": f"{number}. {chosen.prompt}"} for number in range(chosen.rows)]
    with Pipeline(name="rows") as pipeline:
        load = LoadDataFromDicts(data=rows, batch_size=chosen.in_flight)
        llm = OpenAILLM(
            base_url=chosen.url,
            api_key="none",
            model="mock",
            generation_kwargs={"temperature": 0.7, "max_new_tokens": 256},
        )
        load >> TextGeneration(llm=llm, input_batch_size=chosen.in_flight)
    done = pipeline.run(use_cache=False)["default"]["train"]
    made = sum(text is not None for text in done["generation"])
    print(f"\nrows: {made}")


if __name__ == "__main__":
    main()
