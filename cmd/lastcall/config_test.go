package main

import (
	"os"
	"path/filepath"
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

func TestTheExampleConfigurationIsReadable(t *testing.T) {
	c, err := readConfig("../../lastcall.example.yaml")
	if err == nil {
		err = c.complete()
	}
	if err != nil || !c.DemoKinds || c.Listen != defaultListen || c.Grace != 30*time.Second || len(c.programs) != 1 || c.programs[0].Timeout != 10*time.Minute {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestARelativeStoreStartsAtTheFilesDirectory(t *testing.T) {
	path := writeConfig(t, "version: 1\nstore: sqlite:data/tasks.db\n")
	c, err := readConfig(path)
	if want := "sqlite:" + filepath.Join(filepath.Dir(path), "data", "tasks.db"); err != nil || c.Store != want {
		t.Errorf("store %q, %v; want %q", c.Store, err, want)
	}
}

func TestAMistakeInTheConfigurationIsToldWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"version: 1\nstroe: sqlite:x\n": ":2: unknown key stroe: do you mean store?",
		"version: 2\n":                  "this program reads version 1",
		"":                              "version is 0",
		"version: 1\ngrace: 30\n":       ":2: 30 has no unit: write 30s",
		"version: 1\nstore: sqlite:x\ngrace: -1s\n":      "positive duration",
		"version: 1\nstore: sqlite:x\nconcurrency: -2\n": "positive number",
		"version: 1\n": "no store given",
		"version: 1\nstore: sqlite:x\nlisten: 0.0.0.0:80":  "say with --token-file",
		"version: 1\nstore: sqlite:x\nlisten: \"8321\"\n":  "write it as 127.0.0.1:8321",
		"version: 1\nstore: sqlite:x\nlisten: \":8321\"\n": "not a loopback address",
	} {
		c, err := readConfig(writeConfig(t, text))
		if err == nil {
			err = c.complete()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestAStoreAddressIsNeverPrintedWithItsSecret(t *testing.T) {
	for _, address := range []string{"mysql://user:secret@host/db", "sqlite:", "secret"} {
		_, err := openStore(t.Context(), address, howToOpen{create: true}, nil)
		if err == nil || address != "secret" && strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "use sqlite:PATH") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestTokensAllowAnAddressThatOthersCanReach(t *testing.T) {
	path := writeConfig(t, "version: 1\nstore: sqlite:x\nlisten: :8321\ntokenFile: tokens\nprobeListen: :8322\nlogFormat: json\n")
	c, err := readConfig(path)
	if err == nil {
		err = c.complete()
	}
	if want := filepath.Join(filepath.Dir(path), "tokens"); err != nil || c.TokenFile != want {
		t.Errorf("%q, %v; want %q", c.TokenFile, err, want)
	}
	if out, err := check(t, path); err == nil || !strings.Contains(out, ":4: token file ") {
		t.Errorf("a token file that is missing: %s, %v", out, err)
	}
	if err := os.WriteFile(c.TokenFile, []byte("ops read 0123456789abcdefghijklmnop\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := check(t, path); err != nil {
		t.Errorf("%s, %v", out, err)
	}
	for text, want := range map[string]string{"probeListen: 8322": ":3: probeListen", "logFormat: xml": ":3: logFormat \"xml\": use text, json or auto"} {
		if out, err := check(t, writeConfig(t, "version: 1\nstore: sqlite:x\n"+text+"\n")); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %s, %v", text, out, err)
		}
	}
}
