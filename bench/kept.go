package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task/pgstore"
)

// dataDir is the directory of the data that are kept between runs. If the program is run by root,
// the user nobody runs PostgreSQL, and other users may not enter root's home directory.
var dataDir = defaultDataDir()

func defaultDataDir() string {
	dir, err := os.UserCacheDir()
	if err != nil || os.Getuid() == 0 {
		dir = "/var/cache"
	}
	return filepath.Join(dir, "lastcall-bench")
}

// recipe is the version of how the data are loaded. A new version loads them again.
const recipe = 1

// withDataset measures on a server that has the data set of pgfind. It loads the data set unless
// there is one of the same size and schema. The ids are those of ended tasks, the oldest first.
func withDataset(measure func(db database, ids []string) (figures, error)) (figures, error) {
	size := fullDataset()
	if shared != nil {
		return withDatabase(shared, func(db database) (figures, error) {
			ids, err := fillDataset(db, size)
			if err != nil {
				return nil, err
			}
			return measure(db, ids)
		})
	}
	return withKept(size, measure)
}

// withKept measures on a data set that outlives the measurement.
func withKept(size dataset, measure func(db database, ids []string) (figures, error)) (figures, error) {
	schema, err := pgstore.SchemaSQL("", 0)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %+v %s", recipe, size, schema))
	dir := filepath.Join(dataDir, fmt.Sprintf("find-%d-%x", size.ended, sum[:6]))
	ids, err := readIDs(dir)
	if errors.Is(err, os.ErrNotExist) {
		ids, err = loadInto(dir, size)
	}
	if err != nil {
		return nil, err
	}
	server, err := pgtest.StartIn(filepath.Join(dir, "data"), memory...)
	if err != nil {
		return nil, err
	}
	found, err := measure(database{server.DSN("postgres"), server.PID()}, ids)
	return found, errors.Join(err, server.Close())
}

// idsFile is written last: a directory that contains it is complete.
const idsFile = "ids.json"

func readIDs(dir string) (ids []string, err error) {
	b, err := os.ReadFile(filepath.Join(dir, idsFile))
	if err != nil {
		return nil, err
	}
	return ids, json.Unmarshal(b, &ids)
}

// loadInto loads the data set on a server that does not wait for the disk. It replaces older data
// sets of the same size.
func loadInto(dir string, size dataset) ([]string, error) {
	others, err := filepath.Glob(filepath.Join(dataDir, fmt.Sprintf("find-%d-*", size.ended)))
	if err != nil {
		return nil, err
	}
	for _, other := range others {
		if err := os.RemoveAll(other); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(os.Stderr, "    loading %d tasks into %s, once\n", size.ended+size.waiting+size.running, dir)
	if err := os.MkdirAll(dir, 0o755); err != nil { // the server's user must be able to enter
		return nil, err
	}
	quick := []string{"fsync=off", "synchronous_commit=off", "full_page_writes=off"}
	server, err := pgtest.StartIn(filepath.Join(dir, "data"), slices.Concat(memory, quick)...)
	if err != nil {
		return nil, err
	}
	ids, err := fillDataset(database{server.DSN("postgres"), server.PID()}, size)
	if err = errors.Join(err, server.Close()); err != nil {
		return nil, err
	}
	b, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	return ids, os.WriteFile(filepath.Join(dir, idsFile), b, 0o600)
}

// fillDataset records the data set, and gives the server time to collect its statistics.
func fillDataset(db database, size dataset) ([]string, error) {
	store, err := openPostgres(db)
	if err != nil {
		return nil, err
	}
	ids, err := loadDataset(store, size)
	if err = errors.Join(err, store.Close()); err != nil {
		return nil, err
	}
	slices.Sort(ids) // by age
	return ids, execute(db.dsn, `vacuum analyze`, `checkpoint`)
}
