"""Ask for rows in a bare aiohttp loop, as one would by hand, and throw the answers away."""

import argparse
import resource

import aiohttp
import anyio
import orjson


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--prompt", required=True)
    chosen = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    anyio.run(ask, chosen.url, chosen.rows, chosen.in_flight, chosen.prompt, backend_options={"use_uvloop": True})
    print(f"rows: {chosen.rows}")


async def ask(url: str, rows: int, in_flight: int, prompt: str) -> None:
    message = {"role": "user", "content": prompt}
    body = orjson.dumps({"model": "mock", "messages": [message], "temperature": 0.7, "max_tokens": 256})
    left = rows

    async def keep_asking() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            async with session.post(f"{url}/chat/completions", data=body) as response:
                response.raise_for_status()
                await response.read()

    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession(connector=connector, headers=headers) as session,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(in_flight):
            tasks.start_soon(keep_asking)


if __name__ == "__main__":
    main()
