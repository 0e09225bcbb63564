package main

import (
	"crypto/sha256"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStore_NoCommandChangesAByteOfAnotherProgramsDatabase(t *testing.T) {
	const id = "0197c0de-0000-7000-8000-000000000000"
	for name, setup := range map[string]string{
		"another program": `create table bookmarks (url text); insert into bookmarks values ('a')`,
		"nobody yet":      `pragma user_version = 7`,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "foreign.db")
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), setup); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		before := sha256.Sum256(contents(t, path))
		looking := [][]string{
			{"list"}, {"show", id}, {"logs", id}, {"doctor"}, {"workers"}, {"migrate", "status"}, {"cancel", id}, {"retry", id},
			{"interrupt", id}, {"pause", "q"}, {"resume", "q"},
		}
		if name == "another program" {
			looking = append(looking, []string{"submit", "k", "{}"}, []string{"migrate", "up"}, []string{"serve", "--listen", "127.0.0.1:0"})
		}
		for _, args := range looking {
			out, _, err := run(t, append(args, "--store", "sqlite:"+path)...)
			if err == nil {
				t.Errorf("of %s: %v was done:\n%s", name, args, out)
			}
			if sha256.Sum256(contents(t, path)) != before {
				t.Fatalf("of %s: %v has changed it", name, args)
			}
			if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
				t.Fatalf("of %s: %v has made %v, %v", name, args, all, err)
			}
		}
	}
	if _, _, err := run(t, "list", "--store", "sqlite:"+filepath.Join(t.TempDir(), "none.db")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
