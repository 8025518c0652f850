# What is said in other languages. `make pot` collects what there is to translate, `make po` gives it to the translators'
# files; `make install` compiles these.

LANGUAGES := $(shell cat po/LINGUAS)
POTFILES := po/POTFILES.in
POT := po/dormouse.pot
# gettext knows how to read metainfo and settings; for the policy and the MIME type it has our rules.
GETTEXT := GETTEXTDATADIRS=po
XGETTEXT := $(GETTEXT) xgettext --from-code=UTF-8 --add-location=file --add-comments=Translators \
	--package-name=dormouse --copyright-holder='The Dormouse developers' \
	--msgid-bugs-address=https://github.com/dormouse/dormouse/issues
# The last but one is the app's own, for a sentence about a number of things; the last is what the service says.
KEYWORDS := --keyword --keyword=gettext --keyword=ngettext:1,2 --keyword=pgettext:1c,2 --keyword=npgettext:1c,2,3 \
	--keyword=counted:1,2 --keyword=phrase

TRANSLATED_DATA := data/$(ID).desktop.in data/$(ID).gschema.xml data/$(ID).metainfo.xml.in data/$(ID).xml.in \
	data/$(ID)1.policy.in
TRANSLATED_CODE = $(shell find app/src -name '*.rs' -exec grep -lwE 'n?p?gettext|counted' {} + 2>/dev/null | LC_ALL=C sort)
# What the engine and the service say comes to the app as templates (core/wire/src/phrase.rs), and is said by it.
TRANSLATED_WORDS = $(shell find core/engine/src core/service/src -name '*.rs' -not -path '*/tests/*' \
	-exec grep -lF 'phrase!' {} + 2>/dev/null | LC_ALL=C sort)
# The templates of a file alone, without those of its tests.
TEMPLATES := s/\#\[cfg\(test\)\]\nmod .*//s; while (/\bphrase!\(\s*("(?:[^"\\]|\\.)*")/g) { print "phrase($$1);\n" }

.PHONY: pot po

# xgettext reads Rust as C: it finds the same strings, but would take a lifetime for the beginning of a character, so that
# it gets a copy without these. Text stands in one line in the code, for the two languages go on with it differently.
pot:
	@{ echo '# Written by `make pot`: the files that hold something to translate.'; \
		printf '%s\n' $(TRANSLATED_DATA) $(TRANSLATED_CODE) $(TRANSLATED_WORDS); } > $(POTFILES)
	@rm -f $(POT)
	@copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && \
	for file in $(TRANSLATED_CODE); do \
		mkdir -p "$$copy/$${file%/*}" && \
		sed -E "s/([&<(,+: ])'([a-z_]+)([^a-z_'])/\1\2\3/g" $$file > "$$copy/$$file" || exit 1; \
	done && \
	for file in $(TRANSLATED_WORDS); do \
		mkdir -p "$$copy/$${file%/*}" && perl -0777 -ne '$(TEMPLATES)' $$file > "$$copy/$$file" || exit 1; \
	done && \
	$(XGETTEXT) --output=$(POT) $(TRANSLATED_DATA) 2>"$$copy/said" || { cat "$$copy/said" >&2; exit 1; }; \
	test -z '$(TRANSLATED_CODE)' || $(XGETTEXT) --language=C $(KEYWORDS) --join-existing --output=$(POT) \
		--directory="$$copy" $(TRANSLATED_CODE) $(TRANSLATED_WORDS)
	@sed -i -e '1s/.*/# Dormouse in another language./' -e '2s/ YEAR//' -e '/^"POT-Creation-Date/d' $(POT)

po: pot
	@for language in $(LANGUAGES); do \
		msgmerge --quiet --update --backup=none --no-fuzzy-matching --add-location=file po/$$language.po $(POT) && \
		msgattrib --no-obsolete --output-file=po/$$language.po po/$$language.po || exit 1; \
	done
