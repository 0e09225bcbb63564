package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lastcall.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfig_TheExampleConfigurationIsReadable(t *testing.T) {
	c, err := readConfig("lastcall.example.yaml")
	if err == nil {
		err = c.complete()
	}
	if err != nil || c.DemoKinds || c.Listen != defaultListen || c.Grace != 30*time.Second || len(c.programs) != 1 || c.programs[0].Timeout != 10*time.Minute ||
		c.Retention != 7*24*time.Hour || c.programs[0].Retention.Failed != 30*24*time.Hour {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestConfig_ARelativeStoreStartsAtTheFilesDirectory(t *testing.T) {
	path := writeConfig(t, "version: 1\nstore: sqlite:data/tasks.db\n")
	c, err := readConfig(path)
	if want := "sqlite:" + filepath.Join(filepath.Dir(path), "data", "tasks.db"); err != nil || c.Store != want {
		t.Errorf("store %q, %v; want %q", c.Store, err, want)
	}
}

func TestConfig_AMistakeInTheConfigurationIsToldWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"version: 1\nstroe: sqlite:x\n": ":2: unknown key stroe: do you mean store?",
		"version: 2\n":                  "this program reads version 1",
		"":                              "version is 0",
		"version: 1\ngrace: 30\n":       ":2: 30 has no unit: write 30s",
		"version: 1\nstore: sqlite:x\ngrace: -1s\n":      "positive duration",
		"version: 1\nstore: sqlite:x\nconcurrency: -2\n": "positive number",
		"version: 1\n": "no store given",
		"version: 1\nstore: sqlite:x\ngrace: 1ns\n":                                     ":3: grace is 1ns, less than 100ms",
		"version: 1\nstore: sqlite:x\ngrace: 10000h\n":                                  ":3: grace is 10000h0m0s, longer than 7 days",
		"version: 1\nstore: sqlite:x\ngrace: 99999999h\n":                               ":3: 99999999h is longer than anything lasts",
		"version: 1\nstore: sqlite:x\ngrace: 99999999999999h\n":                         "or longer than anything lasts",
		"version: 1\nstore: sqlite:x\ngrace: ''\n":                                      `:3: "" is no duration`,
		"version: 1\nstore: sqlite:x\nconcurrency: 1000000000\n":                        ":3: concurrency is 1000000000, more than 1000000",
		"version: 1\n\tstore: sqlite:x\n":                                               ":2: found a tab character that violates indentation: write spaces instead",
		"version: 1\nstore: sqlite:x\nlisten: 127.0.0.1:99999\n":                        ":3: listen \"127.0.0.1:99999\": port 99999 does not exist: use one from 1 to 65535",
		"version: 1\nstore: sqlite:x\nlisten: 0.0.0.0:80":                               "name those who may with --token-file",
		"version: 1\nstore: sqlite:x\nlisten: \"8321\"\n":                               "write it as 127.0.0.1:8321",
		"version: 1\nstore: sqlite:x\nlisten: \":8321\"\n":                              "not a loopback address",
		"version: 1\nstore: sqlite:x\nlisten: 127.0.0.1:nobody\n":                       ":3: listen \"127.0.0.1:nobody\": port \"nobody\" is neither a number",
		"version: 1\nstore: sqlite:x\nprobeListen: \":99999\"\n":                        ":3: probeListen \":99999\": port 99999 does not exist",
		"version: 1\nstore: sqlite:x\nprobeListen: \"8322\"\n":                          ":3: probeListen \"8322\"",
		"version: 1\nstore: sqlite:x\nprobeListen: 127.0.0.1:8321\n":                    ":3: probeListen \"127.0.0.1:8321\" is where listen is",
		"version: 1\nstore: sqlite:x\nlisten: \"[::1]:9000\"\nprobeListen: \":9000\"\n": ":4: probeListen \":9000\" is where listen is",
		"version: 1\nstore: sqlite:x\nconcurrency: 0\n":                                 ":3: concurrency is 0: use a positive number",
		"version: 1\nstore: sqlite:x\ngrace: 0s\n":                                      ":3: grace is 0",
		"version: 1\nstore: sqlite:x\nretention: 0s\n":                                  ":3: retention is 0s: use 1m0s to a hundred years",
		"version: 1\nstore: sqlite:x\nretention: -1h\n":                                 ":3: retention is -1h0m0s",
		"version: 1\nstore: sqlite://x\n":                                               ":2: store sqlite://x: it looks like a URL",
		"version: 1\nstore: sqlite:x\ntokenFile:\n":                                     ":3: tokenFile has no value",
		"version: 1\nstore: ~\n":                                                        ":2: store has no value",
		"version: 1\nstore: sqlite:x\n~: 1\n":                                           ":3: a key is nothing, which \"~\" means here",
		"version: 1\nstore: &s ~\nlogFormat: *s\n":                                      ":3: logFormat has no value",
		"version: 1\nstore: sqlite:x\nversion: 1\n":                                     ":3: key version is there twice, first in line 1",
		"version: 1\nstore: sqlite:x\n---\nversion: 1\n":                                "more than one document",
	} {
		c, err := readConfig(writeConfig(t, text))
		if err == nil {
			if err = c.complete(); err == nil || strings.HasPrefix(want, ":") {
				if faults := c.faults(); len(faults) > 0 {
					err = c.file.located(faults)
				}
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestConfigCheck_OneProblemHidesNoOther(t *testing.T) {
	path := writeConfig(t, `version: 1
store: "sqlite::memory:"
version: 1
grace: 1ns
probeListen: 127.0.0.1:8321
stroe: x
concurrency: many
kinds:
  k:
    exec: [./nothere.sh, ~]
    exec: [true]
    timeout: -3s
    queue: null
    retry:
      maxAttempts: 0
      maxAttempts: 1
      backoff:
  k: {exec: [true]}
  Null: {exec: [true]}
---
more: 1
`)
	out, _, err := run(t, "config", "check", path)
	if err == nil {
		t.Error("there are no problems")
	}
	for _, want := range []string{":2: store sqlite::memory:", ":3: key version is there twice", ":4: grace is 1ns", ":5: probeListen", ":6: unknown key stroe",
		":7: many is no whole number", ":10: an element of this list is nothing", ":11: key exec is there twice", ":12: kind k: timeout: -3s",
		":13: queue has no value", ":15: kind k: retry.maxAttempts: 0", ":16: key maxAttempts is there twice", ":17: backoff has no value",
		":18: key k is there twice", ":19: a key is nothing", "more than one document"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not told in\n%s", want, out)
		}
	}
}

func TestConfig_AMappingOfCommentsAndAnAnchorSayNothingWrong(t *testing.T) {
	path := writeConfig(t, "version: 1\nstore: sqlite:x\nkinds:\n  # all of them are comments\n")
	if _, err := readConfig(path); err != nil {
		t.Error(err)
	}
	path = writeConfig(t, "version: 1\nkinds:\n  a: &a {exec: [sh, \"~\", \"null\", \"\"], timeout: 1m}\n  \"null\": {<<: *a, timeout: 2m}\n  b: *a\n")
	c, err := readConfig(path)
	if err != nil || len(c.programs) != 3 || c.Kinds["null"].Exec[1] != "~" || *c.Kinds["null"].Timeout != 2*time.Minute || *c.Kinds["b"].Timeout != time.Minute {
		t.Errorf("%+v, %v", c.Kinds, err)
	}
}

func TestServe_AConcurrencyOfZeroIsNotTen(t *testing.T) {
	_, _, err := run(t, "serve", "--store", "sqlite:"+filepath.Join(t.TempDir(), "x"), "--concurrency", "0")
	if err == nil || !strings.Contains(err.Error(), "concurrency is 0") {
		t.Error(err)
	}
}

func TestStore_AddressIsNeverPrintedWithItsSecret(t *testing.T) {
	for address, want := range map[string]string{
		"mysql://user:secret@host/db":         "(mysql://...) is not understood: use sqlite:PATH",
		"Postgres://user:secret@host/db":      "(Postgres://...) is not understood",
		"sqlite:":                             "use sqlite:PATH",
		"secret":                              "use sqlite:PATH",
		"secret:word":                         "use sqlite:PATH",
		"postgres://user:secret@host:port/db": "write it as postgres://USER@HOST:PORT/DATABASE",
		"postgres://user:sec/ret@127.0.0.1:99999/secret":                "write it as postgres://USER@HOST:PORT/DATABASE",
		"postgres://user:secret%zz@host/db":                             "write it as postgres://USER@HOST:PORT/DATABASE",
		"postgres://user@host/db?password=secret&pool_max_conns=x":      "write it as postgres://USER@HOST:PORT/DATABASE",
		"user=u password=secret host=127.0.0.1 port=1":                  "is the server running",
		"host=127.0.0.1 port=x password='secret":                        "in keywords as host=HOST",
		"postgres://user:secret@127.0.0.1:1/db?sslmode=no-such-sslmode": "write it as postgres://USER@HOST:PORT/DATABASE",
	} {
		_, err := openStore(t.Context(), address, openOptions{create: true}, nil)
		if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
		if shown := shownStore(address); strings.Contains(shown, "secret") && !strings.HasSuffix(address, "/secret") {
			t.Errorf("%s is shown as %q", address, shown)
		}
	}
}

func TestConfig_TokensAllowAnAddressThatOthersCanReach(t *testing.T) {
	path := writeConfig(t, "version: 1\nstore: sqlite:x\nlisten: :8321\ntokenFile: tokens\nprobeListen: :8322\nlogFormat: json\n")
	c, err := readConfig(path)
	if err == nil {
		err = c.complete()
	}
	if want := filepath.Join(filepath.Dir(path), "tokens"); err != nil || c.TokenFile != want {
		t.Errorf("%q, %v; want %q", c.TokenFile, err, want)
	}
}

// Every key of the configuration is camelCase, and the example has every key.
func TestConfig_KeysAreCamelCaseAndInTheExample(t *testing.T) {
	text, err := os.ReadFile("lastcall.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	camel := regexp.MustCompile(`^[a-z]+([A-Z][a-z]+)*$`)
	keys := 0
	var walk func(reflect.Type)
	walk = func(of reflect.Type) {
		switch of.Kind() {
		case reflect.Map, reflect.Slice, reflect.Pointer:
			walk(of.Elem())
		case reflect.Struct:
			for i := range of.NumField() {
				field := of.Field(i)
				key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
				if key == "" || key == "-" {
					continue
				}
				if keys++; !camel.MatchString(key) {
					t.Errorf("key %s is not camelCase", key)
				}
				if !regexp.MustCompile(`(?m)(^|[ #{])`+key+`: `).Match(text) && !strings.Contains(string(text), key+":\n") {
					t.Errorf("the example has no %s", key)
				}
				walk(field.Type)
			}
		}
	}
	walk(reflect.TypeFor[config]())
	if keys < 20 {
		t.Errorf("only %d keys were found", keys)
	}
}

func TestServe_TheGraceOfTheEnvironmentHasTheBoundsOfTheFlag(t *testing.T) {
	for text, want := range map[string]string{"8760h": "more than 7 days", "1ms": "less than 100ms", "-3s": "negative", "soon": "no duration", "": "", "none": "", "45s": ""} {
		if err := checkGrace(text); (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), graceEnv)) {
			t.Errorf("%q: %v", text, err)
		}
	}
	t.Setenv(graceEnv, "8760h")
	if _, _, err := run(t, "serve", "--store", "sqlite:"+filepath.Join(t.TempDir(), "x")); err == nil || !strings.Contains(err.Error(), "more than 7 days") {
		t.Error(err)
	}
}
