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
