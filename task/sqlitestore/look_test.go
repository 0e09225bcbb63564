package sqlitestore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

// sums returns the hashes of all files of a directory, by name. No database in it may be open in
// this process: closing a file releases all locks on it.
func sums(t *testing.T, dir string) map[string][sha256.Size]byte {
	t.Helper()
	all := map[string][sha256.Size]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			all[path] = [sha256.Size]byte{}
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wantUnchanged(t *testing.T, dir string, before map[string][sha256.Size]byte) {
	t.Helper()
	after := sums(t, dir)
	for name, sum := range before {
		if after[name] != sum {
			t.Errorf("%s has changed", name)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("%s was made", name)
		}
	}
}

// foreign creates a database of another program and copies it, with its log if it has one, as it is
// while that program works.
func foreign(t *testing.T, setup string) string {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "theirs.db"))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), setup); err != nil {
		t.Fatal(err)
	}
	var name, path string
	var n int
	if err := db.QueryRowContext(t.Context(), `pragma database_list`).Scan(&n, &name, &path); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "copy.db")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		b, err := os.ReadFile(path + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(to+suffix, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func TestOpen_ChangesNoByteOfAnotherProgramsDatabaseAndMakesNothingBesideIt(t *testing.T) {
	const table = `create table bookmarks (url text); insert into bookmarks values ('a');`
	for name, setup := range map[string]string{
		"with a journal":          table,
		"in a log alone":          `pragma journal_mode = wal;` + table,
		"in a log and in itself":  `pragma journal_mode = wal;` + table + `pragma wal_checkpoint(truncate); insert into bookmarks values ('b')`,
		"with a log that is done": table + `pragma journal_mode = wal;`,
	} {
		for _, mustExist := range []bool{false, true} {
			path := foreign(t, setup)
			before := sums(t, filepath.Dir(path))
			if _, err := Open(t.Context(), Config{Path: path, MustExist: mustExist}); !errors.Is(err, errForeign) {
				t.Errorf("%s: %v", name, err)
			}
			wantUnchanged(t, filepath.Dir(path), before)
		}
	}
}

func TestOpen_ThatMustFindADatabaseMakesNoneOfWhatIsNoneYet(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tasks.db")
	refused := func(what string) {
		t.Helper()
		before := sums(t, dir)
		if _, err := Open(t.Context(), Config{Path: path, MustExist: true}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", what, err)
		}
		wantUnchanged(t, dir, before)
	}
	refused("no file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("an empty file")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(context.Background(), `pragma user_version = 7`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	refused("a database without tables")
}

// The content of a new database may be in its log alone, whether a process has it open or has been
// killed.
func TestOpen_FindsTablesThatAreOnlyInTheLog(t *testing.T) {
	s, path := fresh(t)
	if _, err := s.Add(t.Context(), []task.NewTask{{ID: id(1), Kind: "k"}}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 4096 {
		t.Fatalf("the tables are in the file already: %v, %v", info, err)
	}
	found := func(path string) {
		t.Helper()
		other, err := Open(t.Context(), Config{Path: path, MustExist: true})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := other.Find(t.Context(), task.Query{}); err != nil || len(got) != 1 {
			t.Errorf("%d tasks, %v", len(got), err)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
	found(path)
	for _, with := range [][]string{{"", "-wal", "-shm"}, {"", "-wal"}} {
		killed := filepath.Join(t.TempDir(), "tasks.db")
		for _, suffix := range with {
			b, err := os.ReadFile(path + suffix)
			if err == nil {
				err = os.WriteFile(killed+suffix, b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		found(killed)
	}
}
