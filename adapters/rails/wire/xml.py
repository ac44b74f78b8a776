"""XML in and out: nothing that comes in is expanded, fetched or believed; what goes out is valid or does not go.

Elements are found by their local names, so that a message is read whatever version, prefix or envelope it came in.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeAlias

from lxml import etree

from domain.money import Money, to_decimal

NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:"
SIZE_MAX: Final = 16 * 2**20
"""Bytes of the largest message that is read."""
FAULTS_MAX: Final = 20
"""How many of a message's faults are told."""

_SCHEMAS: Final = Path(__file__).parent / "xsd"
_DECLARED: Final = re.compile(rb"""\A(?:\xef\xbb\xbf)?\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})""")
_ENCODINGS: Final = frozenset(
    {b"utf-8", b"utf8", b"us-ascii", b"ascii", b"iso-8859-1", b"iso-8859-15", b"windows-1252"}
)
"""In all of these `<!DOCTYPE` is the same bytes, so that none can be smuggled past."""

Part: TypeAlias = tuple[str, "str | Money | Sequence[Part] | None"]
"""An element to write: its name, and its text, amount or children. One without content is left out."""


class NotXml(Exception):
    """Not well-formed, too large, or with more to it than elements and text."""


class NotValid(ValueError):
    """The message would break its schema, and so is not written."""


class Node:
    """An element. Paths are local names with slashes between them: `GrpHdr/MsgId`."""

    __slots__ = ("_element",)

    def __init__(self, element: Any) -> None:
        self._element = element

    @property
    def name(self) -> str:
        return str(self._element.tag).rpartition("}")[2]

    @property
    def namespace(self) -> str:
        return str(self._element.tag).rpartition("}")[0][1:]

    @property
    def element(self) -> Any:
        """The element itself, as lxml has it."""
        return self._element

    def __iter__(self) -> Iterator["Node"]:
        return (Node(child) for child in self._element if isinstance(child.tag, str))

    def everywhere(self) -> Iterator["Node"]:
        """Itself and all that is in it, in the order of the document."""
        return (Node(element) for element in self._element.iter() if isinstance(element.tag, str))

    def all(self, path: str) -> list["Node"]:
        """Every element that the path leads to."""
        found = [self]
        for name in path.split("/"):
            found = [child for node in found for child in node if child.name == name]
        return found

    def first(self, *paths: str) -> "Node | None":
        """The first element that the first of the paths leads to."""
        return next((found[0] for path in paths if (found := self.all(path))), None)

    def text(self, *paths: str) -> str:
        """The text of the first element with any that one of the paths leads to, its white space collapsed."""
        return next((text for path in paths for node in self.all(path) if (text := node.own_text())), "")

    def own_text(self) -> str:
        return " ".join(str(self._element.text or "").split())

    def attribute(self, name: str) -> str:
        return str(self._element.get(name, ""))


def parse(content: bytes, *, size_max: int = SIZE_MAX) -> Node:
    """The root of a document.

    Raises:
        NotXml: It is none that is read, with the reason.
    """
    if len(content) > size_max:
        raise NotXml(f"larger than {size_max} bytes")
    declared = _DECLARED.match(content)
    if b"\0" in content or (declared and declared[1].lower() not in _ENCODINGS):
        raise NotXml("in an encoding that is not read")
    if b"<!DOCTYPE" in content:
        raise NotXml("it has a document type declaration")
    try:
        root = etree.fromstring(content, _parser())
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        raise NotXml(f"not well-formed XML: {' '.join(str(error).split())}"[:200]) from error
    if root.getroottree().docinfo.doctype:
        raise NotXml("it has a document type declaration")
    return Node(root)


def faults(root: Node, kind: str) -> list[str]:
    """What the schema of `kind` (`pacs.002.001.10`) has against a document; nothing where there is none here."""
    schema = _schema(kind)
    if schema is None or schema.validate(root.element):
        return []
    return [f"line {error.line}: {error.message}"[:300] for error in list(schema.error_log)[:FAULTS_MAX]]


def document(kind: str, content: Part) -> bytes:
    """A message as bytes, checked against its schema.

    Raises:
        NotValid: It breaks the schema.
    """
    root = etree.Element(f"{{{NAMESPACE}{kind}}}Document", nsmap={None: NAMESPACE + kind})
    try:
        _append(root, NAMESPACE + kind, [content])
    except ValueError as error:  # A character that XML has no way to write.
        raise NotValid(f"{kind}: {error}") from error
    assert _schema(kind) is not None, f"no schema of {kind}"
    if found := faults(Node(root), kind):
        raise NotValid(f"{kind}: {'; '.join(found)}")
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


def _append(parent: Any, namespace: str, parts: Sequence[Part]) -> None:
    for name, content in parts:
        if content is None or content == "":
            continue
        element = etree.Element(f"{{{namespace}}}{name}")
        if isinstance(content, Money):
            element.set("Ccy", content.currency)
            element.text = f"{to_decimal(content.minor, content.currency):f}"
        elif isinstance(content, str):
            element.text = content
        else:
            _append(element, namespace, content)
            if not len(element):
                continue
        parent.append(element)


def _parser() -> Any:
    """A parser that leaves entities, document types and the network alone. One document each: parsers keep state."""
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


@lru_cache(maxsize=32)
def _schema(kind: str) -> Any | None:
    path = _SCHEMAS / f"{kind}.xsd"
    if not re.fullmatch(r"[a-z]{4}\.[0-9]{3}\.[0-9]{3}\.[0-9]{2}", kind) or not path.is_file():
        return None
    return etree.XMLSchema(etree.parse(path, _parser()))
