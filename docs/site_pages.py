"""Pages of the documentation site that are made from other files of the repository: a hook of mkdocs.yml.

README.md is the front page, and `verbs.md` holds the help of every verb. A link from a page to a file or a folder
outside docs/ leads to a page that shows it, so that the same links work in the repository and on the site.
"""

import ast
import posixpath
import re
from pathlib import Path

from markdown.extensions.toc import slugify
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Link, Navigation, Section
from mkdocs.structure.pages import Page

from robo_reward.cli.arguments.help import format_verb_help
from robo_reward.cli.verbs import VERBS

ROOT = Path(__file__).resolve().parents[1]
ALWAYS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE", "examples")
"""What the navigation names, besides the pages in docs/."""
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made from files outside docs/."""
    waiting = list(ALWAYS)
    for file in files.documentation_pages():
        waiting += find_links(f"docs/{file.src_uri}")
    made = {"verbs.md": make_verbs_page()}
    while waiting:
        path = waiting.pop()
        if path.startswith("docs/") or get_page_path(path) in made:
            continue
        made[get_page_path(path)] = make_page(path)
        waiting += find_links(path)
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points the links of a page in docs/ to pages of the site."""
    return markdown if page.file.generated_by else rewrite_links(markdown, f"docs/{page.file.src_uri}")


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Adds an entry for each kind of plug-in below `plug_ins.md`."""
    text = FENCE.sub("", (ROOT / "docs" / "plug_ins.md").read_text(encoding="utf-8"))
    kinds = [kind for kind in re.findall(r"^## (.+)$", text, re.MULTILINE) if f"\n| {kind.lower()}" in text]
    (section,) = (item for item in nav.items if isinstance(item, Section) and item.title == "How to")
    place = next(i for i, child in enumerate(section.children) if isinstance(child, Page) and child.title == "Plug-ins")
    section.children[place + 1 : place + 1] = [
        Link(f"Your own {kind.lower()}", f"plug_ins/#{slugify(kind, '-')}") for kind in kinds if kind != "Task"
    ]
    return nav


def get_page_path(path: str) -> str:
    """Returns the page of the site that shows a file or a folder of the repository."""
    if path == "README.md":
        return "index.md"
    if (ROOT / path).is_dir():
        return f"{path}/index.md"
    return path.removeprefix("docs/") if path.startswith("docs/") or path.endswith(".md") else f"{path}.md"


def find_links(path: str) -> list[str]:
    """Returns the files and folders of the repository that the page of a file or a folder links to."""
    if (ROOT / path).is_dir():
        return [f"{path}/{file.name}" for file in sorted((ROOT / path).glob("[!_]*.py"))]
    if not path.endswith(".md"):
        return []
    text = FENCE.sub("", (ROOT / path).read_text(encoding="utf-8"))
    targets = (posixpath.normpath(posixpath.join(posixpath.dirname(path), link)) for link in LINK.findall(text))
    return [target for target in targets if (ROOT / target).exists()]


def rewrite_links(text: str, path: str) -> str:
    """Returns the text of a page with links between pages of the site in place of those between files.

    Args:
        text: Markdown.
        path: of the page in the repository.
    """

    def point_to_page(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link[0]))
        if not (ROOT / target).exists():
            return link[0]  # mkdocs reports it
        return posixpath.relpath(get_page_path(target), posixpath.dirname(get_page_path(path)) or ".")

    return LINK.sub(point_to_page, text)


def make_page(path: str) -> str:
    """Returns the Markdown that shows a file or a folder outside docs/."""
    file = ROOT / path
    if file.is_dir():
        rows = [f"| [{f.name}]({f.name}.md) | {read_summary(f)} |" for f in map(ROOT.joinpath, find_links(path))]
        return "\n".join([f"# {path.capitalize()}", "", "| file | what it does |", "|---|---|", *rows, ""])
    text = file.read_text(encoding="utf-8")
    if path.endswith(".md"):
        return rewrite_links(text, path)
    return f"# {path}\n\n````{file.suffix[1:] or 'text'}\n{text}````\n"


def read_summary(file: Path) -> str:
    """Returns the first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def make_verbs_page() -> str:
    """Returns the help of every verb of the command line as Markdown."""
    parts = [f"## {verb}\n\n```text\n{format_verb_help(verb)}\n```\n" for verb in VERBS]
    return "\n".join(["# Verbs", "", "The text of `robo-reward VERB --help`.", "", *parts])
