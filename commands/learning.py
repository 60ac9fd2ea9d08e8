"""Training of what decides where to look: beliefs, and policies by reinforcement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..views import terminal
from .options import AsJson, check_suffix, check_writable, group

app = group("Training of what decides where to look.")


@app.command(epilog="Example:  stemscout train belief --specimen bifeo3 --out bifeo3.safetensors")
def belief(
    specimen: Annotated[str, typer.Option(help="A kind of specimen that a network is known for.")],
    out: Annotated[
        Path,
        typer.Option(
            help="The file of weights to write, .safetensors; given again, training goes on."
        ),
    ],
    seeds: Annotated[int, typer.Option(min=1, help="Networks, one for each seed from 0 on.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Of training, for each network.")] = 2000,
    specimens: Annotated[
        int, typer.Option(min=1, help="Training specimens, of all difficulties.")
    ] = 2000,
    validate: Annotated[
        int,
        typer.Option(min=1, help="Validation specimens, of each difficulty, that decide which."),
    ] = 10,
    as_json: AsJson = False,
) -> None:
    """Train beliefs: networks that tell, from what was seen, what there is everywhere else.

    Nothing is imaged in training; of what frames would show, a detector tells that errs as often
    as the shipped network was measured to.  Then the real one looks at validation specimens.
    """
    import torch

    from ..agents.learned import members, weights
    from ..agents.learned.detector import Detector

    check_suffix(out)
    Detector.of(specimen)  # before anything that takes long
    check_writable(out)
    torch.set_num_threads(1)
    shown = members.pool(specimen, specimens)
    with terminal.steps(f"train belief {specimen}", seeds * steps) as report:
        held = members.train(
            specimen,
            range(seeds),
            steps,
            shown,
            out,
            lambda seed, p: report(seed * steps + p.step, f"seed {seed}, loss {p.loss:.4f}"),
        )
    judged = members.validated(held, validate)
    weights.save(out, judged)
    reached = judged.card["validation"]["area"]
    rows = [
        {"seed": seed, **{f"area, {level}": value for level, value in own.items()}}
        | {"taken": "median" if k == judged.card["median"] else ""}
        for k, (seed, own) in enumerate(zip(judged.card["seeds"], reached, strict=True))
    ]
    if as_json:
        print(json.dumps(judged.card))
        return
    terminal.table(rows, as_json)
    error = judged.card["calibration"]["error"]
    terminal.listing({"calibration error": error, "weights": str(out)}, as_json)


def _reinforced(algorithm: str, about: str) -> None:
    """A command for an algorithm; they differ by nothing else."""

    def command(
        env: Annotated[str, typer.Option(help="An environment whose detector was measured.")],
        out: Annotated[Path, typer.Option(help="The file of policies to write, .safetensors.")],
        seeds: Annotated[
            int, typer.Option(min=1, help="Policies, one for each seed from 0 on.")
        ] = 1,
        hyper: Annotated[
            Path | None, typer.Option(help="A file of hyper-parameters (YAML) of your own.")
        ] = None,
        checkpoints: Annotated[
            Path | None,
            typer.Option(help="A folder; given again, training goes on exactly where it was."),
        ] = None,
        tensorboard: Annotated[
            Path | None, typer.Option(help="A folder for TensorBoard's curves.")
        ] = None,
        as_json: AsJson = False,
    ) -> None:
        import torch

        from ..agents.learned import policies
        from ..agents.learned.reinforce import Progress, Settings, train

        check_suffix(out)
        settings = Settings.of(algorithm, env, hyper)
        check_writable(out)
        torch.set_num_threads(1)
        made: list[policies.Policies] = []
        with terminal.steps(f"train {algorithm} {env}", seeds * settings.steps) as report:
            for seed in range(seeds):

                def told(p: Progress, before: int = seed * settings.steps) -> None:
                    report(before + p.step, f"area {p.area:.3f}, best {p.best:.3f}")

                kept = None if checkpoints is None else checkpoints / f"{algorithm}-{seed}.pt"
                made.append(train(algorithm, env, settings, seed, kept, tensorboard, told))
        whole = policies.together(made)
        policies.save(out, whole)
        rows = [
            {"seed": card["seed"], "frames": card["steps"], "area": card["area"]}
            | {"taken": "median" if k == whole.card["median"] else ""}
            for k, card in enumerate(whole.card["members"])
        ]
        if as_json:
            print(json.dumps(whole.card))
            return
        terminal.table(rows, as_json)
        terminal.listing({"policies": str(out)}, as_json)

    command.__doc__ = f"""Train policies by {about}, on rehearsed episodes.

    Nothing is imaged: a detector that errs as often as the shipped network was measured to says
    what frames would show. Hyper-parameters are those of the environment in a file of YAML.
    """
    example = f"stemscout train {algorithm} --env StemScout/FerroelectricDomains-v0"
    epilog = f"Example:  {example} --out policy.safetensors"
    app.command(name=algorithm, epilog=epilog)(command)


for _algorithm, _about in {
    "ppo": "proximal policy optimisation",
    "maskable-ppo": "proximal policy optimisation among the frames that are left",
    "recurrent-ppo": "proximal policy optimisation with a memory (LSTM)",
    "dqn": "deep Q-learning",
    "sac": "soft actor-critic, whose actions are places",
}.items():
    _reinforced(_algorithm, _about)
