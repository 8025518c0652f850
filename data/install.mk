# Where each file of the desktop and of the service goes, and how it gets there.

ID := io.github.dormouse.Dormouse
APP := target/release/dormouse-app

share = $(DESTDIR)$(PREFIX)/share
schemas = $(share)/glib-2.0/schemas
icons = $(share)/icons/hicolor
# Below other places than these two neither systemd nor the message bus look for services.
system = $(if $(filter /usr,$(PREFIX)),/usr,/usr/local)
units = $(DESTDIR)$(system)/lib/systemd/system
services = $(DESTDIR)$(system)/share/dbus-1/system-services
# And below /usr/local they do not look for everything.
buspolicies = $(DESTDIR)$(if $(filter /usr,$(PREFIX)),/usr/share,/etc)/dbus-1/system.d
policies = $(DESTDIR)/usr/share/polkit-1/actions

# Puts a file into a folder, with the paths filled in where it is a template (.in).
place = install -d $(2) && sed 's|@bindir@|$(PREFIX)/bin|g' $(1) > $(2)/$(notdir $(1:.in=)) && \
	chmod 644 $(2)/$(notdir $(1:.in=))
# The same, with the translations in it; $(3) is the kind, --desktop or --xml.
translate = install -d $(2) && $(GETTEXT) msgfmt $(3) --template=$(1) -d po --output-file=$(2)/$(notdir $(1:.in=)) && \
	chmod 644 $(2)/$(notdir $(1:.in=))

INTERFACES := $(foreach interface,Groups Images Job Service,$(ID)1.$(interface).xml)

# What is to end after sessions have been put to sleep: logins, and what was woken.
SCOPES := session-.scope app-dormouse-.scope

.PHONY: install-app place-app install-service uninstall-app uninstall-service refresh translator deb

translator:
	@command -v msgfmt >/dev/null || { echo 'msgfmt is missing. It comes with gettext; install that.'; exit 1; }

install-service: translator
	$(call place,data/dormouse.service.in,$(units))
	$(call place,data/dormouse-session@.service.in,$(units))
	$(call place,data/dormouse-logins.target,$(units))
	install -D -m 644 data/order/user.conf $(units)/user@.service.d/50-dormouse.conf
	for scope in $(SCOPES); do \
		install -D -m 644 data/order/scope.conf $(units)/$$scope.d/50-dormouse.conf || exit 1; \
	done
	$(call place,data/dbus/$(ID)1.service.in,$(services))
	$(call place,data/dbus/$(ID)1.conf,$(buspolicies))
	$(call translate,data/$(ID)1.policy.in,$(policies),--xml)
	install -d $(share)/dbus-1/interfaces
	install -m 644 $(addprefix data/dbus/,$(INTERFACES)) $(share)/dbus-1/interfaces

uninstall-service:
	test -n '$(DESTDIR)' || ! test -d /run/systemd/system || systemctl stop dormouse.service
	rm -f $(units)/dormouse.service $(services)/$(ID)1.service $(buspolicies)/$(ID)1.conf $(policies)/$(ID)1.policy
	rm -f $(units)/dormouse-session@.service $(units)/dormouse-logins.target
	for unit in user@.service $(SCOPES); do \
		rm -f $(units)/$$unit.d/50-dormouse.conf; rmdir $(units)/$$unit.d 2>/dev/null || :; \
	done
	rm -f $(addprefix $(share)/dbus-1/interfaces/,$(INTERFACES))

install-app:
	@if test -x $(APP); then $(MAKE) --no-print-directory place-app; \
		else echo 'The app has not been built, and is not installed.'; fi

place-app: translator
	install -d $(bindir)
	install -s -m 755 $(APP) $(bindir)/dormouse-app
	$(call translate,data/$(ID).desktop.in,$(share)/applications,--desktop)
	$(call place,data/dbus/$(ID).service.in,$(share)/dbus-1/services)
	$(call translate,data/$(ID).metainfo.xml.in,$(share)/metainfo,--xml)
	$(call translate,data/$(ID).xml.in,$(share)/mime/packages,--xml)
	$(call place,data/$(ID).gschema.xml,$(schemas))
	$(call place,data/icons/$(ID).svg,$(icons)/scalable/apps)
	$(call place,data/icons/$(ID)-symbolic.svg,$(icons)/symbolic/apps)
	$(call place,data/icons/$(ID)-image.svg,$(icons)/scalable/mimetypes)
	for language in $(LANGUAGES); do \
		install -d $(share)/locale/$$language/LC_MESSAGES && \
		msgfmt --output-file=$(share)/locale/$$language/LC_MESSAGES/dormouse.mo po/$$language.po && \
		chmod 644 $(share)/locale/$$language/LC_MESSAGES/dormouse.mo || exit 1; \
	done

uninstall-app:
	rm -f $(bindir)/dormouse-app $(share)/applications/$(ID).desktop $(share)/dbus-1/services/$(ID).service
	rm -f $(share)/metainfo/$(ID).metainfo.xml $(share)/mime/packages/$(ID).xml $(schemas)/$(ID).gschema.xml
	rm -f $(icons)/scalable/apps/$(ID).svg $(icons)/symbolic/apps/$(ID)-symbolic.svg
	rm -f $(icons)/scalable/mimetypes/$(ID)-image.svg
	rm -f $(foreach language,$(LANGUAGES),$(share)/locale/$(language)/LC_MESSAGES/dormouse.mo)

# What the desktop and the system have read already they read again, each where it is there. A package that is made in
# DESTDIR leaves that to the machine that it comes to.
refresh:
	@test -z '$(DESTDIR)' || exit 0; \
	has() { command -v $$1 >/dev/null && test -d $$2; }; \
	if has glib-compile-schemas $(schemas); then glib-compile-schemas $(schemas); fi; \
	if has update-desktop-database $(share)/applications; then update-desktop-database -q $(share)/applications; fi; \
	if has update-mime-database $(share)/mime/packages; then update-mime-database $(share)/mime; fi; \
	if has gtk-update-icon-cache $(icons); then gtk-update-icon-cache -q -t -f $(icons); fi; \
	if has systemctl /run/systemd/system; then systemctl daemon-reload; fi

# A package for Debian of all that `make install` puts in its place; what else belongs to it stands in core/cli/Cargo.toml.
# It needs cargo-deb.
deb: $(BINARY)
	@$(CARGO) deb --version >/dev/null 2>&1 || { echo 'cargo-deb is missing: cargo install cargo-deb'; exit 1; }
	rm -rf target/debian-root
	$(MAKE) --no-print-directory install DESTDIR=target/debian-root PREFIX=/usr
	$(CARGO) deb --no-build --no-strip --package dormouse-cli
