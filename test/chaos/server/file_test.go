//go:build linux

package server

import (
	"database/sql"
	"strings"
	"sync"
	"testing"
)

// newFile creates a file with a table, and returns a connection to it.
func newFile(t *testing.T, kinds ...string) (*File, *sql.DB) {
	t.Helper()
	f, err := NewFile(directory(t), kinds, 0)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+f.Path()+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(100)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := db.ExecContext(t.Context(), `create table rows (n integer primary key, filler text)`); err != nil {
		t.Fatal(err)
	}
	return f, db
}

const insert = `insert into rows (filler) values (hex(randomblob(10000)))`

func TestFileLocked_NobodyElseWrites(t *testing.T) {
	f, db := newFile(t)
	end, err := f.Begin(t.Context(), FileLocked)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), insert); err == nil || !strings.Contains(err.Error(), "SQLITE_BUSY") {
		t.Errorf("a write: %v", err)
	}
	if _, err := end(); err != nil {
		t.Error(err)
	}
	if _, err := db.ExecContext(t.Context(), insert); err != nil {
		t.Error(err)
	}
}

func TestFileDiskFull_WritesFailUntilThereIsRoom(t *testing.T) {
	if err := canMount(); err != nil {
		t.Skip(err)
	}
	f, db := newFile(t, FileDiskFull)
	end, err := f.Begin(t.Context(), FileDiskFull)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err = db.ExecContext(t.Context(), insert); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("a write: %v", err)
	}
	if _, err := end(); err != nil {
		t.Error(err)
	}
	if _, err := db.ExecContext(t.Context(), insert); err != nil {
		t.Error(err)
	}
	if _, err := (&File{dir: f.dir}).Begin(t.Context(), FileDiskFull); err == nil {
		t.Error("a disk that is not small was filled")
	}
}

func TestFileKilledInCheckpoint_TheFileIsWhole(t *testing.T) {
	f, db := newFile(t)
	var writer sync.WaitGroup
	done := make(chan struct{})
	writer.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				_, _ = db.ExecContext(t.Context(), insert) // a checkpoint may delay it for too long
			}
		}
	})
	for range 3 {
		end, err := f.Begin(t.Context(), FileKilledInCheckpoint)
		if err != nil {
			t.Error(err)
			break
		}
		detail, err := end()
		if err != nil || !strings.Contains(detail, "in checkpoint") {
			t.Errorf("%q, %v", detail, err)
		}
		t.Log(detail)
	}
	close(done)
	writer.Wait()
	var whole string
	if err := db.QueryRowContext(t.Context(), `pragma integrity_check`).Scan(&whole); err != nil || whole != "ok" {
		t.Errorf("%q, %v", whole, err)
	}
}
