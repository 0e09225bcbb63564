package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storetest"
)

func TestStore_KeepsItsRules(t *testing.T) { storetest.Run(t, engine()) }

func TestStore_KeepsItsRulesWhenCallsAreRepeated(t *testing.T) { storetest.RunTwice(t, engine()) }

func TestStore_KeepsItsPromisesThroughFaults(t *testing.T) { storetest.RunFaults(t, engine(), 18) }

// engine opens a file for each test.
func engine() storetest.Engine {
	paths := make(map[string]string)
	store := func(t *testing.T) task.Store {
		if paths[t.Name()] == "" {
			paths[t.Name()] = filepath.Join(t.TempDir(), "tasks.db")
		}
		return openAt(t, paths[t.Name()])
	}
	e := storetest.Engine{Open: store, Reopen: store}
	if canLock {
		e.Kill = func(_ *testing.T, s task.Store, worker string) { s.(*Store).locks.release(worker, false) }
	}
	return e
}

func openAt(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fresh(t *testing.T) (*Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tasks.db")
	s := openAt(t, path)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, path
}

// rawDB is another connection to a store's file.
func rawDB(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func beat(worker string, seq uint64, state task.WorkerState) task.Beat {
	return task.Beat{Worker: worker, Seq: seq, State: state, Lease: 1e9}
}

func TestFind_ByStatusAmongFewAndManyWaitingTasks(t *testing.T) {
	s, _ := fresh(t)
	if _, err := s.Heartbeat(t.Context(), beat("w", 1, task.WorkerRunning)); err != nil {
		t.Fatal(err)
	}
	kinds := []task.KindClaim{{Kind: "k", Max: 1}}
	for _, n := range []int{2, fewWait + 2} {
		var many []task.NewTask
		for i := range n {
			many = append(many, task.NewTask{ID: id(n + i), Kind: "k", Queue: "default"})
		}
		if _, err := s.Add(t.Context(), many); err != nil {
			t.Fatal(err)
		}
		got, err := s.Claim(t.Context(), task.ClaimRequest{Worker: "w", Max: 1, Kinds: kinds})
		if err != nil || len(got) != 1 {
			t.Fatalf("%d tasks, %v", len(got), err)
		}
		end := task.Change{Fence: task.Fence{Task: got[0].ID, Run: got[0].Run, Worker: "w"}, Status: task.StatusInterrupted, Reason: task.ReasonStop}
		if errs := s.Apply(t.Context(), []task.Change{end}); errs[0] != nil {
			t.Fatal(errs[0])
		}
		for status, want := range map[task.Status]string{task.StatusInterrupted: got[0].ID, task.StatusQueued: many[n-1].ID} {
			found, err := s.Find(t.Context(), task.Query{Status: status, Limit: 1})
			if err != nil || len(found) != 1 || found[0].ID != want || found[0].Status != status {
				t.Errorf("of %d, %s: %+v, %v; want %s", n, status, found, err, want)
			}
		}
	}
}

func TestOpen_RefusesADatabaseThatANewerProgramMadeUnreadable(t *testing.T) {
	_, path := fresh(t)
	for _, c := range []struct {
		version, oldest int
		refused         bool
	}{{len(steps) + 6, len(steps), false}, {len(steps) + 7, len(steps) + 1, true}} {
		if _, err := rawDB(t, path).ExecContext(t.Context(), `update lastcall set value = case key when 'version' then ? else ? end`, c.version, c.oldest); err != nil {
			t.Fatal(err)
		}
		other, err := Open(t.Context(), Config{Path: path})
		if c.refused {
			if err == nil || !strings.Contains(err.Error(), "use the newer program") {
				t.Errorf("version %d, oldest %d: %v", c.version, c.oldest, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("version %d, oldest %d: %v", c.version, c.oldest, err)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpen_RefusesTablesOfAnUnreleasedVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trial.db")
	for _, text := range []string{
		`create table lastcall (key text not null primary key, value integer not null)`, `insert into lastcall values ('version', 2), ('oldest', 1)`,
		`create table tasks (id text, lane integer)`,
	} {
		if _, err := rawDB(t, path).ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(t.Context(), Config{Path: path}); err == nil || !strings.Contains(err.Error(), "name another one") {
		t.Errorf("%v", err)
	}
}

func TestOpen_RefusesAnotherProgramsDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), `create table bookmarks (url text)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Path: path}); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("%v", err)
	}
}

func TestOpen_ReportsWhatIsWrongWithThePath(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("not a database. ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":                            "no path given",
		dir:                           "is a directory",
		filepath.Join(dir, "no/x.db"): "does not exist: make it",
		filepath.Join(garbage, "x"):   "is not a directory",
		garbage:                       "restore the file from a backup",
	} {
		if _, err := Open(t.Context(), Config{Path: path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", path, err, want)
		}
	}
}

func TestCheck_FindsADamagedPageThatNoQueryHasRead(t *testing.T) {
	s, path := fresh(t)
	if err := s.CheckIntegrity(t.Context()); err != nil {
		t.Errorf("a good file: %v", err)
	}
	var page int64
	if err := s.read.QueryRowContext(t.Context(), `select rootpage from sqlite_master where name = 'paused'`).Scan(&page); err != nil {
		t.Fatal(err)
	}
	if _, err := rawDB(t, path).ExecContext(t.Context(), `pragma wal_checkpoint(truncate)`); err != nil {
		t.Fatal(err)
	}
	// Opening the database file and closing it again releases SQLite's locks on it, so a copy is
	// damaged instead.
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[(page-1)*4096:], strings.Repeat("garbage!", 512))
	spoiled := filepath.Join(t.TempDir(), "tasks.db")
	if err := os.WriteFile(spoiled, b, 0o600); err != nil {
		t.Fatal(err)
	}
	other := openAt(t, spoiled)
	if err := other.CheckIntegrity(t.Context()); err == nil || !strings.Contains(err.Error(), "restore it from a backup, or save what can be read") {
		t.Errorf("%v", err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if err := other.CheckIntegrity(t.Context()); !errors.Is(err, task.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestOpen_TakesAPathOfAnyCharacters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b%20?c#d&e.db")
	s := openAt(t, path)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestClose_BringsTheLogIntoTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tasks.db")
	s := openAt(t, path)
	if _, err := s.Add(t.Context(), []task.NewTask{{ID: id(1), Kind: "k"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find(t.Context(), task.Query{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + left); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("tasks.db%s is left: %v", left, err)
		}
	}
}

func TestOpen_SyncsCommitsAndBoundsTheLog(t *testing.T) {
	s, _ := fresh(t)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "journal_size_limit": "16777216"} {
		for name, db := range map[string]rowQueryer{"write": s.writer.conn, "read": s.read} {
			var got string
			if err := db.QueryRowContext(context.Background(), "pragma "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s connection: %s is %q, %v; want %q", name, pragma, got, err, want)
			}
		}
	}
}

func TestOpen_OfAFreshFileByManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tasks.db")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			s, err := Open(t.Context(), Config{Path: path})
			if err != nil {
				t.Error(err)
				return
			}
			id := fmt.Sprintf("00000000-0000-7000-8000-%012d", i)
			if _, err := s.Add(t.Context(), []task.NewTask{{ID: id, Kind: "k"}}); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s := openAt(t, path)
	found, err := s.Find(t.Context(), task.Query{})
	if err != nil || len(found) != 8 {
		t.Errorf("%d tasks, %v", len(found), err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestStore_DoesWhatTheModelDoes(t *testing.T) {
	s, _ := fresh(t)
	if testing.Short() {
		t.Log("make test-full: five times as many random calls, in sequences twice as long")
	}
	storetest.Property(t, s, 25)
}
