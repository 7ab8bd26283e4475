"""Generate rows with Curator: its `openai` backend, with rate limits far above what is asked."""

import argparse

from bespokelabs import curator


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--prompt", required=True)
    chosen = parser.parse_args()
    llm = curator.LLM(
        model_name="mock",
        backend="openai",
        generation_params={"temperature": 0.7, "max_tokens": 256},
        backend_params={
            "base_url": chosen.url,
            "api_key": "none",
            "max_requests_per_minute": 10_000_000,
            "max_tokens_per_minute": 10_000_000_000,
            "max_concurrent_requests": chosen.in_flight,
        },
    )
    prompts = [f"{number}. {chosen.prompt}" for number in range(chosen.rows)]
    print(f"\nrows: {len(llm(prompts).dataset)}")


if __name__ == "__main__":
    main()
