"""Generate rows with data-designer: one LLM text column over a sampled one, on a provider of one's own."""

import argparse
from pathlib import Path

import data_designer.config as dd
from data_designer.interface import DataDesigner


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--prompt", required=True)
    chosen = parser.parse_args()
    provider = dd.ModelProvider(name="bench", endpoint=chosen.url, provider_type="openai", api_key="none")
    parameters = dd.ChatCompletionInferenceParams(
        temperature=0.7, max_tokens=256, max_parallel_requests=chosen.in_flight
    )
    model = dd.ModelConfig(alias="mock", model="mock", provider="bench", inference_parameters=parameters)
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.add_column(
        dd.SamplerColumnConfig(name="number", sampler_type=dd.SamplerType.UUID, params=dd.UUIDSamplerParams())
    )
    builder.add_column(
        dd.LLMTextColumnConfig(name="text", model_alias="mock", prompt=f"{{{{ number }}}}. {chosen.prompt}")
    )
    designer = DataDesigner(artifact_path=Path("artifacts"), model_providers=[provider])
    designer.set_run_config(dd.RunConfig(otel_metrics_port=None))
    result = designer.create(builder, num_records=chosen.rows, dataset_name="rows")
    print(f"\nrows: {len(result.load_dataset())}")


if __name__ == "__main__":
    main()
