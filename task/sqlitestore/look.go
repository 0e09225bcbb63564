package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"

	sqlite3 "modernc.org/sqlite/lib"
)

// errForeign refuses a database of another program.
var errForeign = errors.New("this is a SQLite database of another program: name another file")

// look reports whether the file has Lastcall's tables, and refuses a database of another program.
// It changes no byte of the file or of the files next to it. Opening a database as a store does
// sets its journal mode, and can write its log into it.
func look(ctx context.Context, path string) (tables bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// First what is in the file itself. Nothing is locked for that, and no log is read.
	tables, err = identify(ctx, path, "immutable=1")
	pending := hasBytes(path+"-wal") || hasBytes(path+"-journal")
	switch {
	case !pending, err == nil && tables, errors.Is(err, errForeign):
		return tables, err
	case resultCode(err) == sqlite3.SQLITE_NOTADB && !hasBytes(path+"-journal"):
		return false, err // no log can change that
	}
	// The content of a new database may be in its log alone. A process that has it open keeps the
	// index of the log, which can be used as it is.
	if hasBytes(path + "-shm") {
		if tables, err = identify(ctx, path, "mode=ro&readonly_shm=1"); err == nil || errors.Is(err, errForeign) {
			return tables, err
		}
	}
	// A process was killed while it created the database, or another process is creating it now:
	// SQLite has to repair or finish it first.
	return true, nil
}

// identify reports whether a database has tables, and returns an error if they are those of another
// program.
func identify(ctx context.Context, path, how string) (tables bool, err error) {
	db, err := sql.Open("sqlite", address(path)+"?"+how)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return hasTables(ctx, db)
}

// hasBytes reports whether a file exists and is not empty.
func hasBytes(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() > 0
}
