package test

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// damage creates a store with some hundred tasks, and spoils its file.
func damage(t *testing.T, spoil func(f *os.File, size int64) error) (store, id string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tasks.db")
	store = "sqlite:" + path
	lines := filepath.Join(filepath.Dir(path), "lines")
	text := strings.Repeat(`{"kind": "k", "payload": "`+strings.Repeat("x", 300)+`"}`+"\n", 400)
	if err := os.WriteFile(lines, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ids := strings.Fields(string(command(t, "submit", "--store", store, "--many", lines)))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err == nil {
		err = spoil(f, info.Size())
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return store, ids[len(ids)/2]
}

func TestDamage_ADamagedDatabaseFileIsToldByEveryCommandWithWhatToDo(t *testing.T) {
	t.Parallel()
	garbage := bytes.Repeat([]byte("garbage!"), 512) // one page
	for name, c := range map[string]struct {
		spoil func(f *os.File, size int64) error
		want  string
	}{
		"garbage for a header": {func(f *os.File, _ int64) error { _, err := f.WriteAt(garbage[:100], 0); return err }, "file is not a database (26): restore the file from a backup"},
		"cut in the middle":    {func(f *os.File, size int64) error { return f.Truncate(size / 2) }, "the file is damaged: stop all servers on it and restore it from a backup"},
		"cut in its header":    {func(f *os.File, _ int64) error { return f.Truncate(50) }, "the file is damaged: stop all servers on it and restore it from a backup"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, id := damage(t, c.spoil)
			for _, args := range [][]string{{"serve", "--listen", "127.0.0.1:0"}, {"submit", "k", "{}"}, {"list"}, {"show", id}, {"doctor"}, {"migrate", "status"}} {
				if code, out := fails(t, append(args, "--store", store)...); code != 1 || !bytes.Contains(out, []byte(c.want)) {
					t.Errorf("lastcall %q: exit code %d, want 1 with %q:\n%s", args, code, c.want, out)
				}
			}
		})
	}
}

// Such a file can be opened, and some of it can be read. The server must report what it cannot do,
// instead of ending or doing nothing.
func TestDamage_ADamagedPageInTheMiddleIsFoundByTheDoctorAndToldByTheServer(t *testing.T) {
	t.Parallel()
	garbage := bytes.Repeat([]byte("garbage!"), 512)
	store, id := damage(t, func(f *os.File, _ int64) error {
		// This table has the tasks that may be claimed.
		db, err := sql.Open("sqlite", f.Name())
		if err != nil {
			return err
		}
		var page int64
		err = db.QueryRowContext(t.Context(), `select rootpage from sqlite_master where name = 'waiting'`).Scan(&page)
		if err = errors.Join(err, db.Close()); err != nil {
			return err
		}
		_, err = f.WriteAt(garbage, (page-1)*4096)
		return err
	})
	const want = "the file is damaged: stop all servers on it and restore it from a backup, or save what can be read with sqlite3 FILE .recover"
	if code, out := fails(t, "doctor", "--store", store); code != 1 || !bytes.Contains(out, []byte("fail  store")) || !bytes.Contains(out, []byte(want)) {
		t.Errorf("doctor: %d\n%s", code, out)
	}
	if code, out := fails(t, "show", "--store", store, id); code != 1 || !bytes.Contains(out, []byte(want)) {
		t.Errorf("show: %d\n%s", code, out)
	}
	config := filepath.Join(t.TempDir(), "lastcall.yaml")
	if err := os.WriteFile(config, []byte("version: 1\nkinds:\n  k: {exec: [/bin/true]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, store, "--config", config)
	if line := s.waitLog("cannot claim; trying again"); !strings.Contains(line, want) {
		t.Error(line)
	}
	stop(s)
	if n := len(s.lines("cannot claim; trying again")); n > 3 {
		t.Errorf("the same complaint %d times", n)
	}
}

func TestDamage_ADatabaseOfANewerProgramIsRefusedByEveryCommandAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tasks.db")
	store := "sqlite:" + path
	command(t, "submit", "--store", store, "k", "{}")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), `update lastcall set value = 99`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	before := read(t, path)
	for _, args := range [][]string{{"serve", "--listen", "127.0.0.1:0"}, {"submit", "k", "{}"}, {"list"}, {"doctor"}, {"migrate", "status"}, {"migrate", "up"}} {
		const want = "a newer lastcall has changed this database (schema 99, readable from 99"
		if code, out := fails(t, append(args, "--store", store)...); code != 1 || !bytes.Contains(out, []byte(want)) || !bytes.Contains(out, []byte("use the newer program")) {
			t.Errorf("lastcall %q: exit code %d, want 1 with %q:\n%s", args, code, want, out)
		}
	}
	if !bytes.Equal(before, read(t, path)) {
		t.Error("the file was changed")
	}
}
