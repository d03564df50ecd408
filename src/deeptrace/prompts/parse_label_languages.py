"""Sentences of other languages than English that say whether a video is real or generated; one table a language.

A sentence counts where its subject is the video ("dieses Video", "这段视频", "영상은") or a mere "this", where the word
for real or generated is the whole predicate, and where nothing makes it a question, a condition or a doubt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from deeptrace.schema import Label

__all__ = ["labels_in_other_languages"]

_MOST = 100  # clauses looked at
_LONGEST = 300  # characters of one


@dataclass(frozen=True, slots=True)
class _Language:
    """How one language says it.

    Attributes:
        said: the predicate, with the subject and what may follow it; `real` and `fake` are its groups.
        denied: anywhere in the clause, it claims the other label.
        doubted: anywhere in the clause, it claims nothing.
    """

    said: re.Pattern[str]
    denied: re.Pattern[str]
    doubted: re.Pattern[str]


def _language(
    subject: str, real: str, fake: str, *, denied: str, doubted: str, after: str = "", before: str = ""
) -> _Language:
    """A language of which the predicate follows its subject, with some words between.

    Args:
        subject: the video, as the subject; or what says "this is".
        real, fake: what it is called.
        denied, doubted: see `_Language`.
        after: what may stand between the predicate and the end of its clause, besides blanks.
        before: a predicate that stands before its noun ("AI生成の動画"), and that noun.
    """
    called = rf"(?:(?P<real>{real})|(?P<fake>{fake}))"
    said = rf"(?:{subject}).{{0,40}}?{called}(?:{after})\s*$"
    if before:
        said += rf"|^.{{0,20}}?(?:(?P<real2>{real})|(?P<fake2>{fake}))(?:{before})\s*$"
    return _Language(*(re.compile(pattern, re.I) for pattern in (said, denied, doubted)))


_ROMANCE_AI = (
    r"(?:une?\s+|una\s+|uma\s+|l'|dall'|all'|la\s+|a\s+)?(?:IA|AI|intelligenza\s+artificiale|intelligence\s+artificielle"
    r"|inteligencia\s+artificial|inteligência\s+artificial)"
)

_LANGUAGES = (
    _language(  # Chinese
        r"(?:视频|影片|短片|片段|影像|視頻|画面)(?![中里内上裡內])|(?:^|认为|判断|判定|觉得|說|说|認為|，|,)\s*(?:这|這|此|它|其)|^\W*(?:是|为|為|属于|屬於)",
        real=r"真实(?:拍摄)?(?!感)|真實(?:拍攝)?(?!感)|真的|实拍|實拍|非(?:AI|人工智能)生成",
        fake=r"(?:AI|人工智能|人工智慧)(?:技术|模型|工具)?\s*(?:生成|合成|制作|製作|创作|伪造)|伪造|偽造|合成|虚假|假",
        denied=r"不是|并非|并不是|並非|不像|没有|沒有|未|无(?!疑)|不(?=真)|绝非",
        doubted=r"是否|(?<![很极大最更])(?<![很极大最]有)可能|如果|若|无法|無法|不能|难以|難以|还是|還是|或|不确定|虽然|尽管",
        after=r"(?:出来|而成|拍摄)?的?(?:视频|影片|短片|片段|内容|画面|作品|影像|視頻|記錄|记录)?",
        before=r"(?:视频)?的?(?:痕迹|痕跡|特征|特徵|迹象|跡象)(?:明显|明顯)?",
    ),
    _language(  # Japanese
        r"(?:動画|映像|ビデオ)(?:は|が)|(?:これ|こちら)は",
        real=r"本物|実写|実際に撮影",
        fake=r"偽物|フェイク|(?:AI|人工知能)(?:によって|により|で|が|に)?(?:生成|合成|作成|作ら)|合成",
        denied=r"(?:では|じゃ)(?:な|あ)|ていな|(?:あり|れ|見え)ません|ない",
        doubted=r"かも|どうか|か[?？]?$|可能性(?!が(?:非常に|極めて|かなり)?高)|もし|判断でき|わから|分から",
        after=r"(?:の|し|さ)?(?:れ)?(?:た|ている)?(?:もの|動画|映像)?(?:だ|で(?:は|す)|と|では|じゃ|である).{0,16}|(?:の)?(?:動画|映像)?",
        before=r"(?:の|された|した)?(?:痕跡|特徴|兆候)(?:が|は)(?:あり|見られ|認められ).{1,6}|(?:の|された|した)?(?:動画|映像|もの)(?:です|だ|である|と(?:思|考|判断).{0,12}|では(?:な|あ).{0,8})?",
    ),
    _language(  # Korean
        r"(?:영상|비디오|동영상)[은이]|비디오[는가]|(?:이것|이건|이거)[은는이]?",
        real=r"진짜|실제(?:로\s*촬영(?:된|한)?)?(?:\s*(?:영상|비디오))?",
        fake=r"가짜|(?:AI|인공지능)(?:로|가|에\s*의해)?\s*(?:(?:생성|합성|제작)(?:한|된|되었|됐|했)?|만든|만들어진|만들었)|합성(?:된)?|조작(?:된)?",
        denied=r"아[니닙]|없|지\s*않",
        doubted=r"인지|수도|모르|만약|일까|가능성(?!이\s*(?:매우\s*)?높)|불확실|확실하지",
        after=r"\s*(?:것|영상|비디오|동영상)?(?:이|가|은|으로|로)?\s*(?:습니다|입니다|이다|다|보입니다|보인다|판단(?:됩니다|합니다|된다)|생각(?:합니다|됩니다)|아닙니다|아니다|아니라|[되하]?지\s*않\S{1,6})?",
        before=r"(?:된)?\s*(?:영상|비디오|동영상|것)(?:으로|로|이라고|이며|이|인\s*것으로)?\s*(?:보[입인]|판단|생각|추정|입니다|이다|아[니닙]).{0,8}"
        r"|(?:된)?\s*(?:의\s*)?(?:흔적|징후)(?:이|은|가)?\s*(?:있|없|보[입이인]).{0,6}",
    ),
    _language(  # Russian
        r"(?<!в )(?<!на )(?<!этом )(?:видео|ролик|клип|запись)\b|^\W*это\b",
        real=r"настоящ\w+|реальн\w+|подлинн\w+",
        fake=r"поддельн\w+|фейк\w*|дипфейк\w*|(?:сгенерирован|создан|сделан)\w*\s*(?:с\s+помощью\s+)?(?:ИИ|нейросет\w+|искусственн\w+\s+интеллект\w*)|сгенерирован\w*|\bИИ\b|\bнейросеть\b",
        denied=r"\bне\b|\bнет\b|\bнельзя\s+назвать\b",
        doubted=r"\bесли\b|\bли\b|возможно|неясно|может\s+быть|\bмог\w*\b|\bили\b|хотя",
        after=r"(?:\s+(?:видео|ролик|клип|запись\w*|съ[её]мк\w+))?",
    ),
    _language(  # German
        r"(?<!im )\b(?:das|dieses|gezeigte)\s+(?:gezeigte\s+|vorliegende\s+)?(?:video|clip|material|filmmaterial)\b"
        r"|\b(?:der|dieser)\s+(?:clip|film)\b|(?:^|,\s*dass)\W*(?:es|dies|das|die\s+aufnahme)\b"
        r"|\bes\s+sich\s+(?:hier(?:bei)?\s+)?um\b",
        real=r"\becht(?:e[sr]?)?\b|\breal(?:e[sr]?)?\b|\bauthentisch(?:e[sr]?)?\b",
        fake=r"\b(?:KI|AI)[- ]?(?:generiert|erzeugt|erstellt)(?:e[sr]?)?\b|gefälscht|\bunecht\b|\bdeepfake\b|\bKI\b"
        r"|\b(?:von|durch|mit|mittels)\s+(?:einer\s+|einem\s+)?(?:KI|künstlicher\s+intelligenz)(?:[- ]modell)?\s+"
        r"(?:generiert|erzeugt|erstellt|gemacht)|künstlich\s+(?:erzeugt|generiert)",
        denied=r"\bnicht\b|\bkein\w*",
        doubted=r"\b(?:ob|wenn|falls|könnte|dürfte|vielleicht|möglicherweise|unklar|oder|obwohl|obgleich|zwar)\b",
        after=r"(?:\s+(?:video|clip|aufnahme|wurde|worden|ist|wirkt|zu\s+sein))*",
    ),
    _language(  # French
        r"(?<!dans )(?<!de )\b(?:la|cette)\s+(?:vidéo|séquence)\b|(?<!dans )\b(?:le|ce)\s+clip\b"
        r"|(?:^|que\s)\W*(?:elle|c'|il\s+s'agit)",
        real=r"\bréel(?:le)?s?\b|\bauthentique\b|\bvraie?\b",
        fake=r"\bfau(?:x|sse)\b|\btruquée?\b|\bdeepfake\b|\bgénérée?\s+artificiellement|\bde\s+l'IA\b"
        rf"|\b(?:généré|créé|produit|fabriqué|synthétisé)e?\s+(?:par|avec|à\s+l'aide\s+de|grâce\s+à)\s+{_ROMANCE_AI}",
        denied=r"\bn'|\bne\b|\baucun\w*\b|\bpas\b|\brien\b",
        doubted=r"\bsi\b|\bpeut-être\b|\bpourrait\b|\bou\b|\bincertain\w*|\bbien\s+que\b|\bquoique\b",
        after=r"(?:\s+(?:vidéo|séquence|clip))?",
    ),
    _language(  # Spanish
        r"(?<!en )(?<!de )\b(?:el|este|del)\s+(?:v[ií]deo|clip)\b|(?:^|que)\W*(?:es|se\s+trata\s+de)\b",
        real=r"\b(?:real|auténtico|auténtica|genuino|verdadero)\b",
        fake=rf"\b(?:generad|cread|producid|hech)[oa]\s+(?:por|con|mediante)\s+{_ROMANCE_AI}|\bfals[oa]\b|\bdeepfake\b|\bsintétic[oa]\b|\bIA\b",
        denied=r"\bno\b|\bningun\w*|\bnada\b|\bsin\b",
        doubted=r"\bsi\b|\bquizás?\b|\bpodría\b|\bpuede\s+que\b|\btal\s+vez\b|\bo\b|\baunque\b",
        after=r"(?:\s+(?:v[ií]deo|clip))?",
    ),
    _language(  # Portuguese
        r"\b(?:o|este|esse)\s+(?:v[ií]deo|clipe)\b|(?:^|que)\W*(?:é|trata-se\s+de)\b",
        real=r"\b(?:real|autêntico|verdadeiro|genuíno)\b",
        fake=rf"\b(?:gerado|criado|produzido|feito)\s+(?:por|com)\s+{_ROMANCE_AI}|\bfalso\b|\bdeepfake\b|\bsintético\b|\bIA\b",
        denied=r"\bnão\b|\bnenhum\w*|\bsem\b",
        doubted=r"\bse\b|\btalvez\b|\bpoderia\b|\bpode\s+ser\b|\bou\b|\bembora\b",
        after=r"(?:\s+(?:v[ií]deo|clipe))?",
    ),
    _language(  # Italian
        r"\b(?:il|questo)\s+(?:video|filmato)\b|(?:^|che)\W*(?:è|si\s+tratta\s+di)\b",
        real=r"\b(?:reale|autentico|vero)\b",
        fake=rf"\b(?:generato|creato|prodotto|realizzato)\s+(?:da|con|tramite|dall)?'?\s*{_ROMANCE_AI}|\bfalso\b|\bdeepfake\b|\bsintetico\b|\bIA\b",
        denied=r"\bnon\b|\bnessun\w*|\bsenza\b",
        doubted=r"\bse\b|\bforse\b|\bpotrebbe\b|\bpuò\s+essere\b|\boppure\b|\bo\b|\bsebbene\b|\banche\s+se\b",
        after=r"(?:\s+(?:video|filmato))?",
    ),
)

_BECAUSE = (
    r"\s(?:weil|da|denn|und|wegen|sondern|parce\s+que|car|et|porque|ya\s+que|y|pois|e|perch[éè]|poich[éè]|потому\s+что"
    r"|так\s+как|поскольку|и)\s"
)
_CLAUSE_END = re.compile(
    rf"[!?\n;:()*|]|\.(?!\d)|[,](?!\s*(?:dass|que|qu'|che|что)\b)|(?:因为|由于|所以|因此|(?<!も)ので|ため)|(?<=ではなく)|(?<=じゃなく)|(?<=아니라)|(?=而不是|而非)|{_BECAUSE}",
    re.I,
)
_CONCEDED = re.compile(
    r"虽然|尽管|雖然|けれど|지만|хотя|\b(?:obwohl|obgleich|zwar|bien\s+que|quoique|aunque|embora|sebbene|anche\s+se)\b",
    re.I,
)
_NO_DOUBT = re.compile(
    r"毫无疑问|毫無疑問|无疑|無疑|間違いなく|疑いなく|의심의\s*여지\s*없이|(?:нет|без)\s+(?:никаких\s+)?сомнени\w+|несомненно|\bkein(?:en)?\s+zweifel\b"
    r"|\bohne\s+zweifel\b|\bzweifellos\b|\b(?:sans\s+|il\s+n'y\s+a\s+)?aucun\s+doute\b|\bsans\s+doute\b|\b(?:no\s+hay|sin)\s+(?:ninguna\s+)?dudas?\b"
    r"|\b(?:não\s+há|sem)\s+dúvidas?\b|\b(?:non\s+c'è|senza)\s+(?:alcun\s+)?dubbio\b",
    re.I,
)
_LOOKS = re.compile(
    r"看起来|看上去|似乎|見え|보이지|보이나|выглядит|кажется|\b(?:wirkt|sieht|scheint|semble|paraît|parece|sembra|appare)\b",
    re.I,
)
_BUT = re.compile(
    r"[\s,.]*(?:但|不过|然而|しかし|ですが|だが|が,|하지만|그러나|(?:но|однако|aber|doch|jedoch|mais|cependant|pero|sin\s+embargo"
    r"|mas|porém|ma|però|tuttavia)\b)",
    re.I,
)


def labels_in_other_languages(text: str) -> Iterator[Label]:
    """The label that each clause of `text` claims which says of the video, in another language, what it is.

    Args:
        text: with punctuation in ASCII.

    Examples:
        >>> [str(label) for label in labels_in_other_languages("Das Video ist nicht echt, sondern KI-generiert.")]
        ['FAKE']
        >>> [str(label) for label in labels_in_other_languages("这是一段AI生成的视频")]
        ['FAKE']
        >>> list(labels_in_other_languages("这段视频是否真实? Die Hand im Video ist echt."))
        []
    """
    start, before = 0, ""
    ends = [(found.start(), found.end(), found.group(0)) for found in _CLAUSE_END.finditer(text)]
    for end, after, sign in [*ends[:_MOST], (len(text), len(text), "")]:
        clause, start = _NO_DOUBT.sub(" ", text[start:end][:_LONGEST]), after
        contrasted = _LOOKS.search(clause) is not None and _BUT.match(text, end) is not None
        if clause.strip() and sign != "?" and not contrasted:
            yield from _claimed(clause, before)
        before = clause if sign == "," and not _CONCEDED.search(clause) else ""


def _claimed(clause: str, before: str) -> Iterator[Label]:
    """What a clause claims; in doubt where it doubts, or the one before it: "Возможно, видео настоящее"."""
    for language in _LANGUAGES:
        said = language.said.search(clause)
        if said is None or language.doubted.search(clause) or (before and language.doubted.search(before)):
            continue
        groups = said.groupdict()
        real = bool(groups["real"] or groups.get("real2"))
        if language.denied.search(clause):
            real = not real
        yield Label.REAL if real else Label.FAKE
        return
