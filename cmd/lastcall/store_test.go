package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStore_AddressCanComeFromAFileOrTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "store")
	if err := os.WriteFile(file, []byte("sqlite:in-the-file.db\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(storeEnv, "sqlite:in-the-environment.db")
	for _, c := range []struct{ flag, file, want string }{
		{"sqlite:flag.db", "", "sqlite:flag.db"},
		{"", file, "sqlite:in-the-file.db"},
		{"", "", "sqlite:in-the-environment.db"},
	} {
		if got, err := storeAddress(c.flag, c.file); err != nil || got != c.want {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
	if err := os.WriteFile(file, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := storeAddress("", file); err == nil || !strings.Contains(err.Error(), "alone on its line") {
		t.Errorf("an empty file: %v", err)
	}
}

func TestStore_IsShownWithoutItsPassword(t *testing.T) {
	for address, want := range map[string]string{
		"sqlite:/a/b.db": "sqlite:/a/b.db",
		"postgres://user:secret@h.example:5433/tasks":   "the PostgreSQL database tasks on h.example",
		"postgres://user:se/cret@h.example:port/secret": "a store",
	} {
		if got := shownStore(address); got != want {
			t.Errorf("%s is shown as %q, want %q", address, got, want)
		}
	}
}

func TestServer_ThatCannotBeReachedIsToldWithoutThePassword(t *testing.T) {
	_, err := openStore(t.Context(), "postgres://user:secret@127.0.0.1:1/db", openOptions{}, nil)
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "is the server running") ||
		strings.Contains(err.Error(), "\n") || strings.Count(err.Error(), "connection refused") != 1 {
		t.Errorf("%v", err)
	}
}

func TestStore_AnAddressThatMeansAnotherFileIsRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	for address, want := range map[string]string{
		"sqlite://tasks.db":            "looks like a URL",
		"sqlite:///var/tasks.db":       "looks like a URL",
		"sqlite://localhost/tasks.db":  "looks like a URL",
		"sqlite::memory:":              "no store in memory",
		"sqlite:x?mode=ro":             "write the path alone",
		"sqlite:x.db?_txlock=deferred": "write the path alone",
		"sqlite:file:x.db":             "write the path alone",
		"sqlite:FILE:x.db?a":           "write the path alone",
		"sqlite: x.db":                 "white space or quotes",
		`sqlite:"x.db"`:                "white space or quotes",
		"sqlite:~/x.db":                "write the whole path",
		"sqlite:x.db-wal":              "name the database itself",
		"sqlite:x.db-workers/":         "name the database itself",
		"SQLite:x.db":                  "is not understood",
	} {
		_, _, err := run(t, "submit", "k", "1", "--store", address)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
	if made, err := os.ReadDir("."); err != nil || len(made) != 0 {
		t.Errorf("%v is made, %v", made, err)
	}
	for _, address := range []string{"sqlite:x.db", "sqlite:./a?b.db", "sqlite:a#b%20c.db", "sqlite:" + filepath.Join(t.TempDir(), "it's.db")} {
		if _, _, err := run(t, "submit", "k", "1", "--store", address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestToken_OfTheEnvironmentMayEndWithALineBreakAndIsNothingButASecret(t *testing.T) {
	for given, want := range map[string]string{"abc\n": "abc", " abc\r\n": "abc", "abc": "abc", "\n": "", "a b": "!", "a\nb": "!", "gehe\u00efm": "!"} {
		t.Setenv(tokenEnv, given)
		got, err := new(target).token()
		if want == "!" && err == nil || want != "!" && (got != want || err != nil) {
			t.Errorf("%q: %q, %v", given, got, err)
		}
	}
	t.Setenv(serverEnv, "http://127.0.0.1:1\n")
	if server, _, err := new(target).serverAddress(); server != "http://127.0.0.1:1" || err != nil {
		t.Errorf("%q, %v", server, err)
	}
}
