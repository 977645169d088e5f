"""What shells complete: by bash itself, and the scripts of the others."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from metatrack.cli import COMMANDS, main


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    from metatrack.completion import script

    commands = {name: (command.options, command.help) for name, command in COMMANDS.items()}
    return {shell: script(shell, commands) for shell in ("bash", "zsh", "fish")}


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "expected", "absent"),
    [
        (["tr"], {"track", "train"}, {"bench"}),
        (["train", ""], {"matching", "meta", "average", "probe"}, {"track"}),
        (["batch", "--"], {"--jobs", "--ray", "--no-adapt"}, {"--box"}),
        (["train", "matching", "--fre"], {"--freeze-trunk"}, {"--mix"}),
    ],
)
def test_bash_completes(words, expected, absent, scripts, tmp_path) -> None:
    file = tmp_path / "completion.bash"
    file.write_text(scripts["bash"])
    line = " ".join(["metatrack", *words])
    code = f"""
        source {file}
        function=$(complete -p metatrack | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        COMP_WORDS=(metatrack {" ".join(repr(word) for word in words)})
        COMP_CWORD={len(words)} COMP_LINE="{line}" COMP_POINT={len(line)}
        $function metatrack {words[-1]!r} metatrack
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=False)
    found = {word.strip() for word in done.stdout.splitlines()}
    assert expected <= found and not absent & found, (found, done.stderr)


def test_every_command_and_option_is_in_each_script(scripts) -> None:
    for text in scripts.values():
        for name in COMMANDS:
            assert all(word in text for word in name.split())
        assert "--freeze-trunk" in text and "--no-adapt" in text
    assert scripts["zsh"].startswith("#compdef metatrack") and "complete --no-files --command" in scripts["fish"]


def test_the_command_prints_it(capsys, scripts) -> None:
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.strip() == scripts["zsh"].strip()


def test_an_old_tyro_is_named(capsys, monkeypatch) -> None:
    monkeypatch.setattr("tyro.__version__", "1.0.0")
    assert main(["completion", "fish"]) == 2
    assert "pip install --upgrade tyro" in capsys.readouterr().err
