"""Holds our costs against those of two other packages, on a corpus of usages written here.

Every case is priced by the package itself, by `price_usage` from the package's own file, and by
`price_usage` from the embedded table. Ours has to be the other's cost, rounded up to 1e-9 USD. Where
it is dearer, a rule has to say why; where it is cheaper by more than a rounding of floats, the
comparison fails. `mission-control prices import` has to take both files too. Nothing is fetched.
"""

import dataclasses
import datetime
import decimal
import importlib.resources
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # noqa: E402
from genai_prices import Usage as GenaiUsage  # noqa: E402
from genai_prices import calc_price  # noqa: E402
from genai_prices.data import providers  # noqa: E402
from litellm.cost_calculator import batch_cost_calculator  # noqa: E402
from litellm.litellm_core_utils.llm_cost_calc.tool_call_cost_tracking import (  # noqa: E402
    StandardBuiltInToolCostTracking,
)
from litellm.llms import get_cost_for_web_search_request  # noqa: E402

AT = datetime.datetime(2026, 11, 21, 12, 0, tzinfo=datetime.timezone.utc)
NANO = decimal.Decimal(10) ** 9
# A sum of a few floats is off by no more than this part of itself.
FLOAT = decimal.Decimal("1e-9")

# Tokens by our classes: in, read from a cache, written to one for 5 minutes and for an hour; out,
# and thought. Small and odd, around every edge of a context tier, and large.
USAGES = [
    (1, 0, 0, 0, 1, 0),
    (441, 0, 0, 0, 59, 0),
    (1234, 0, 0, 0, 567, 89),
    (1000, 9000, 0, 0, 333, 0),
    (17, 3, 0, 0, 5, 11),
    (7, 0, 1024, 0, 13, 0),
    (7, 2048, 1024, 0, 13, 0),
    (7, 2048, 0, 4096, 13, 0),
    (128000, 0, 0, 0, 1, 0),
    (200000, 0, 0, 0, 1000, 0),
    (200001, 0, 0, 0, 1000, 0),
    (100000, 100001, 0, 0, 1000, 500),
    (100000, 0, 1, 0, 1000, 0),
    (272000, 0, 0, 0, 777, 0),
    (272001, 0, 0, 0, 777, 0),
    (900001, 1, 0, 0, 60001, 1),
]

# Usages with so many uses of the provider's own search, which costs by the piece.
SEARCHES = [
    ((1, 0, 0, 0, 1, 0), 1),
    ((1234, 0, 0, 0, 567, 89), 1),
    ((1234, 0, 0, 0, 567, 89), 3),
    ((17, 3, 0, 0, 5, 11), 7),
    ((441, 0, 0, 0, 59, 0), 1000),
]

# The sizes of what a search brings that one list tells apart.
SIZES = ["low", "medium", "high"]

# Our id, the package's id.
LITELLM_MODELS = [
    ("openai/gpt-4o-mini", "gpt-4o-mini"),
    ("openai/gpt-4o", "gpt-4o"),
    ("openai/gpt-5.4", "gpt-5.4"),
    ("openai/gpt-6-astra", "gpt-6-astra"),
    ("openai/gpt-6.1-sol", "gpt-6.1-sol"),
    ("anthropic/claude-haiku-4-5", "claude-haiku-4-5"),
    ("anthropic/claude-haiku-5-5", "claude-haiku-5-5"),
    ("anthropic/claude-sonnet-5", "claude-sonnet-5"),
    ("google/gemini-2.5-pro", "gemini/gemini-2.5-pro"),
    ("google/gemini-2.5-flash", "gemini/gemini-2.5-flash"),
    ("mistral/mistral-large-2512", "mistral/mistral-large-2512"),
    ("xai/grok-4.3", "xai/grok-4.3"),
    ("groq/openai/gpt-oss-120b", "groq/openai/gpt-oss-120b"),
    ("moonshot/kimi-k3", "moonshot/kimi-k3"),
    ("cohere/command-r-plus-08-2024", "command-r-plus-08-2024"),
]

# Models of which a search costs more the more it brings.
LITELLM_SEARCH_MODELS = [
    ("perplexity/sonar", "perplexity/sonar"),
    ("perplexity/sonar-pro", "perplexity/sonar-pro"),
]

# The package's provider, ours, and the ids of models that both have.
GENAI_MODELS = [
    ("openai", "openai", ["gpt-4o-mini", "gpt-5.4", "gpt-6-astra"]),
    ("anthropic", "anthropic", ["claude-haiku-4-5", "claude-haiku-5-5", "claude-sonnet-5"]),
    ("google", "google", ["gemini-2.5-pro", "gemini-2.5-flash"]),
    ("mistral", "mistral", ["mistral-large-2512"]),
    ("x-ai", "xai", ["grok-4.3", "grok-4.7"]),
    ("deepseek", "deepseek", ["deepseek-chat", "deepseek-flash", "deepseek-v4-pro"]),
    ("moonshotai", "moonshot", ["kimi-k3"]),
    ("groq", "groq", ["llama-3.3-70b-versatile", "openai/gpt-oss-120b"]),
]

# How many of the models above the embedded table has at least.
LEAST_EMBEDDED = {"litellm": 5, "genai-prices": 5}

TIERS = ["standard", "batch", "flex", "priority"]


@dataclasses.dataclass
class Case:
    """One usage of one model at one tier, and what the package says that it costs."""

    model: str
    row: str
    tier: str
    region: str | None
    usage: tuple
    theirs: decimal.Decimal
    at: datetime.datetime = AT
    searches: int = 0

    def line(self):
        """The case as `price_usage` reads it."""
        names = [
            "input_uncached",
            "input_cache_read",
            "input_cache_write_5m",
            "input_cache_write_1h",
            "output_text",
            "output_reasoning",
        ]
        counts = {name: count for name, count in zip(names, self.usage) if count}
        if self.searches:
            counts["web_searches"] = self.searches
        at = int(self.at.timestamp()) * 1_000_000
        line = {"model": self.model, "usage": counts, "tier": self.tier, "at": at}
        if self.region:
            line["region"] = self.region
        return json.dumps(line)

    def name(self):
        """The case for people."""
        where = f", {self.region}" if self.region else ""
        searched = f", {self.searches} searches" if self.searches else ""
        return f"{self.model} {self.tier}{where} {self.usage}{searched}"


def litellm_usage(usage, beside):
    """Our classes as that package counts them: parts of one sum; thoughts may stand beside it."""
    fresh, read, five, hour, out, thought = usage
    details = {"cached_tokens": read, "cache_creation_tokens": five + hour}
    if hour or five:
        details["cache_creation_token_details"] = {
            "ephemeral_5m_input_tokens": five,
            "ephemeral_1h_input_tokens": hour,
        }
    return litellm.Usage(
        prompt_tokens=fresh + read + five + hour,
        completion_tokens=out if beside else out + thought,
        prompt_tokens_details=details,
        completion_tokens_details={"reasoning_tokens": thought, "text_tokens": out},
        cache_creation_input_tokens=five + hour,
        cache_read_input_tokens=read,
    )


def litellm_cost(key, usage, tier, region):
    """What litellm says."""
    provider = litellm.model_cost[key]["litellm_provider"]
    # That package adds what xAI thought itself, but not in a batch.
    counted = litellm_usage(usage, provider == "xai" and tier != "batch")
    if tier == "batch":
        parts = batch_cost_calculator(counted, key, provider)
    else:
        parts = litellm.cost_per_token(
            model=key,
            custom_llm_provider=provider,
            usage_object=counted,
            service_tier=None if tier == "standard" else tier,
            data_residency=region,
        )
    return sum(decimal.Decimal(repr(float(part))) for part in parts)


def litellm_cases():
    """Every model at every tier that its row prices."""
    keys = {"batch": "_batches", "flex": "_flex", "priority": "_priority", "standard": ""}
    for model, key in LITELLM_MODELS:
        row = litellm.model_cost[key]
        regions = [None]
        if "regional_processing_uplift_multiplier_eu" in row:
            regions.append("eu")
        for tier in TIERS:
            if f"input_cost_per_token{keys[tier]}" not in row:
                continue
            for region in regions if tier == "standard" else [None]:
                for usage in USAGES:
                    theirs = litellm_cost(key, usage, tier, region)
                    yield Case(model, key, tier, region, usage, theirs)


def litellm_searches(key, usage, count, size):
    """What litellm says of the searches alone."""
    row = litellm.model_cost[key]
    provider = row["litellm_provider"]
    counted = litellm_usage(usage, False)
    counted.server_tool_use = litellm.types.utils.ServerToolUse(web_search_requests=count)
    if provider in ("anthropic", "gemini"):
        each = get_cost_for_web_search_request(provider, counted, row)
        return decimal.Decimal(repr(float(each)))
    options = {"search_context_size": size}
    each = StandardBuiltInToolCostTracking.get_cost_for_web_search(options, row)
    return decimal.Decimal(repr(float(each))) * count


def litellm_search_cases():
    """Every model whose list prices a search, at every size of what it brings."""
    models = LITELLM_MODELS + LITELLM_SEARCH_MODELS
    priced = [(ours, key) for ours, key in models if "search_context_cost_per_query" in litellm.model_cost[key]]
    assert len(priced) >= len(LITELLM_SEARCH_MODELS) + 5, "the list has lost its prices of searches"
    for model, key in priced:
        for usage, count in SEARCHES:
            tokens = litellm_cost(key, usage, "standard", None)
            for size in SIZES:
                theirs = tokens + litellm_searches(key, usage, count, size)
                yield Case(model, key, "standard", None, usage, theirs, searches=count)


def genai_cost(provider, model, usage, tier, at, searches=0):
    """What genai-prices says."""
    fresh, read, five, hour, out, thought = usage
    counts = {"input_tokens": fresh + read + five + hour, "output_tokens": out + thought}
    parts = {
        "cache_read_tokens": read,
        "cache_write_tokens": five + hour,
        "cache_write_1h_tokens": hour,
        "output_reasoning_tokens": thought,
    }
    counts.update({name: count for name, count in parts.items() if count})
    if searches:
        counts["web_searches"] = searches
    context = {
        "standard": None,
        "batch": {"processing": "batch"},
        "flex": {"service_tier": "flex"},
        "priority": {"service_tier": "priority"},
    }[tier]
    price = calc_price(
        GenaiUsage(**counts),
        model_ref=model,
        provider_id=provider,
        genai_request_timestamp=at,
        price_context=context,
    )
    return price.total_price


def genai_cases():
    """Every model at every tier that it has a variant for; where hours differ, at two of them."""
    night = AT.replace(hour=20)
    models = {(one.id, model.id): model for one in providers for model in one.models}
    chosen = [(theirs, ours, model) for theirs, ours, ids in GENAI_MODELS for model in ids]
    for provider, ours, model in chosen:
        row = f"{provider}/{model}"
        variants = [variant.when for variant in models[provider, model].price_variants or []]
        for tier in TIERS:
            when = {"processing": "batch"} if tier == "batch" else {"service_tier": tier}
            if tier != "standard" and when not in variants:
                continue
            for at in (AT, night):
                for usage in USAGES:
                    theirs = genai_cost(provider, model, usage, tier, at)
                    yield Case(f"{ours}/{model}", row, tier, None, usage, theirs, at)


def genai_search_cases():
    """Every model whose list prices a search."""
    models = {(one.id, model.id): model for one in providers for model in one.models}
    chosen = [(theirs, ours, model) for theirs, ours, ids in GENAI_MODELS for model in ids]
    priced = [one for one in chosen if "web_searches_kcount" in repr(models[one[0], one[2]].prices)]
    assert len(priced) >= 4, "the list has lost its prices of searches"
    for provider, ours, model in priced:
        for usage, count in SEARCHES:
            theirs = genai_cost(provider, model, usage, "standard", AT, count)
            row = f"{provider}/{model}"
            yield Case(f"{ours}/{model}", row, "standard", None, usage, theirs, searches=count)


def plain(value):
    """A value of that package as JSON: what its updates of the list are."""
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if hasattr(value, "__dict__"):
        fields = value.__dict__.items()
        return {key.rstrip("_"): plain(one) for key, one in fields if one is not None and not key.startswith("_")}
    return value


def genai_list(path):
    """Writes the installed list of providers."""
    rows = [{"id": one.id, "models": [plain(model) for model in one.models]} for one in providers]
    path.write_text(json.dumps(rows))
    return path


def ours(binary, source, path, cases):
    """What `price_usage` says, and the report of the import; of the embedded table without a path."""
    lines = "\n".join(case.line() for case in cases) + "\n"
    command = [binary, "--from", source, str(path)] if path else [binary]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    *answers, last = [json.loads(line) for line in done.stdout.splitlines()]
    return answers, last["report"]


def imported(binary, source, path, scratch):
    """The report of the command line's own import of a file into a store."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        store = ["--db", str(Path(folder) / "prices.redb"), "--operator", "ann"]
        command = [binary, "prices", "import", "--from", source, str(path), "--json", *store]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        listed = [binary, "prices", "list", "gpt-5.4", "--json", *store]
        found = subprocess.run(listed, capture_output=True, text=True, check=True)
        assert json.loads(found.stdout)["models"], "the import is not in force"
        return json.loads(done.stdout)["report"]


def reason(case, answer, report):
    """Why ours may be dearer; none if nothing says so."""
    for lossy in report["lossy"]:
        if case.searches and lossy["row"] == case.row and "size of the context" in lossy["what"]:
            return "a search costs the dearest of the sizes of what it brings"
    if case.searches > 1 and case.row.startswith("gemini/"):
        # That package bills the prompt of such a model, however often it searched.
        if litellm.model_cost[case.row].get("web_search_billing_unit", "per_prompt") == "per_prompt":
            return "searches that are counted are charged, each"
    if "dearest_class" in answer["flags"]:
        return "a class without a price is charged at the dearest of its side"
    for lossy in report["lossy"]:
        if lossy["row"] == case.row and lossy["key"] == case.tier:
            return "a tier of size without a price is charged at the dearer of its base and standard"
        if lossy["row"] == case.row and "rounded up" in lossy["what"]:
            return "a price finer than 1e-12 USD is rounded up"
        if "also a name of" in lossy["what"] and f"`{case.model}`" in lossy["what"]:
            return "a model that is listed twice costs the dearer of the two"
    return None


def compare(source, cases, answers, report):
    """Counts the cases by what they come to; the failures are told."""
    counts, failures = {}, []
    for case, answer in zip(cases, answers, strict=True):
        if "error" in answer:
            failures.append(f"{source}: {case.name()}: {answer['error']}")
            continue
        nano = decimal.Decimal(answer["nano_usd"])
        theirs = case.theirs * NANO
        slack = theirs * FLOAT
        if theirs - slack <= nano < theirs + slack + 1:
            kind = "the same, rounded up"
        elif nano > theirs:
            kind = reason(case, answer, report)
        else:
            kind = None
        if kind is None:
            failures.append(f"{source}: {case.name()}: ours {nano} nano-USD, theirs {theirs}")
        else:
            counts[kind] = counts.get(kind, 0) + 1
    for kind, count in sorted(counts.items(), key=lambda pair: -pair[1]):
        print(f"{source}: {count} cases: {kind}")
    return failures


def embedded(binary, source, cases, report):
    """Holds the embedded table against a package, on the cases that it prices."""
    answers, _ = ours(binary, source, None, cases)
    known = {case.model for case, answer in zip(cases, answers, strict=True) if "error" not in answer}
    assert len(known) >= LEAST_EMBEDDED[source], f"{source}: the embedded table prices only {sorted(known)}"
    # A model, a tier or a class that it leaves out is refused, never charged at another price.
    priced = [pair for pair in zip(cases, answers, strict=True) if "error" not in pair[1]]
    name = f"embedded, against {source}"
    print(f"{name}: {len(cases) - len(priced)} cases are refused: the table leaves out what sources differ in")
    cases, answers = [pair[0] for pair in priced], [pair[1] for pair in priced]
    return compare(name, cases, answers, report)


def main():
    """Compares with both packages."""
    binaries, scratch = Path(sys.argv[1]), Path(sys.argv[2])
    binary, command = str(binaries / "price_usage"), str(binaries / "mission-control")
    of_litellm = importlib.resources.files("litellm") / "model_prices_and_context_window_backup.json"
    of_genai = importlib.resources.files("genai_prices") / "data.py"
    runs = [
        ("litellm", of_litellm, [*litellm_cases(), *litellm_search_cases()]),
        ("genai-prices", of_genai, [*genai_cases(), *genai_search_cases()]),
    ]
    failures = []
    for source, path, cases in runs:
        answers, report = ours(binary, source, path, cases)
        failures += compare(source, cases, answers, report)
        failures += embedded(binary, source, cases, report)
        if imported(command, source, path, scratch) != report:
            failures.append(f"{source}: `prices import` does not take what `price_usage` takes")
    # The same list as JSON, which the package's updates are, is read as the same.
    _, _, cases = runs[1]
    as_json = ours(binary, "genai-prices", genai_list(scratch / "genai-prices.json"), cases)
    if as_json[0] != ours(binary, "genai-prices", of_genai, cases)[0]:
        failures.append("genai-prices: data.py is not read as the JSON that says the same")
    for failure in failures:
        print(failure, file=sys.stderr)
    if failures:
        sys.exit(f"{len(failures)} costs differ without a rule")


if __name__ == "__main__":
    main()
