"""The example of the package's docstring, run against the server given: `python -m adapters.client URL`."""

import sys
import textwrap

import adapters.client


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m adapters.client http://127.0.0.1:8080")
    said = adapters.client.__doc__ or ""
    example = textwrap.dedent(said[said.index("    with ") : said.index("`python -m")])
    exec(example.replace("http://127.0.0.1:8080", sys.argv[1]), vars(adapters.client).copy())  # noqa: S102 - our own text.


if __name__ == "__main__":
    main()
