package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/pgstore"
	"github.com/lastcall-go/lastcall/task/sqlitestore"
)

// database is the database in which a measurement has its tables.
type database struct {
	dsn string
	pid int // the server's process id
}

// memory has the memory settings of a small server.
var memory = []string{"shared_buffers=512MB", "max_wal_size=4GB"}

// shared, if set, is the server for all measurements, each with a database of its own, instead of a
// new cluster for each. The test has no time for that many clusters.
var shared *pgtest.Server

var databases atomic.Int64

// withCluster measures on a new cluster with fsync on, and with settings in addition to the common
// ones.
func withCluster(measure func(db database) (figures, error), settings ...string) (found figures, err error) {
	if shared != nil {
		return withDatabase(shared, measure)
	}
	server, err := pgtest.Start(slices.Concat(memory, settings)...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	return measure(database{server.DSN("postgres"), server.PID()})
}

// withDatabase measures in a new database of a server, and drops it.
func withDatabase(server *pgtest.Server, measure func(db database) (figures, error)) (found figures, err error) {
	name := fmt.Sprintf("bench_%d", databases.Add(1))
	if err := execute(server.DSN("postgres"), "create database "+name+" template template0"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, execute(server.DSN("postgres"), "drop database "+name+" with (force)")) }()
	return measure(database{server.DSN(name), server.PID()})
}

// execute runs statements on a new connection.
func execute(dsn string, statements ...string) error {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	for _, sql := range statements {
		if _, err := c.Exec(ctx, sql); err != nil {
			return errors.Join(err, c.Close(ctx))
		}
	}
	return c.Close(ctx)
}

func openPostgres(db database) (*pgstore.Store, error) {
	return pgstore.Open(context.Background(), pgstore.Config{DSN: db.dsn, Migrate: true, Logger: quiet})
}

func openSQLite(path string) (*sqlitestore.Store, error) {
	return sqlitestore.Open(context.Background(), sqlitestore.Config{Path: path, Logger: quiet})
}

// onPostgres runs a measurement on a store in a new cluster.
func onPostgres(measure func(store task.Store, db database) (figures, error), settings ...string) (figures, error) {
	return withCluster(func(db database) (figures, error) {
		store, err := openPostgres(db)
		if err != nil {
			return nil, err
		}
		found, err := measure(store, db)
		return found, errors.Join(err, store.Close())
	}, settings...)
}

// onSQLite runs a measurement on a store in a new file.
func onSQLite(measure func(store task.Store, db database) (figures, error)) (figures, error) {
	return withFile(func(path string) (figures, error) {
		store, err := openSQLite(path)
		if err != nil {
			return nil, err
		}
		found, err := measure(store, database{})
		return found, errors.Join(err, store.Close())
	})
}

// withFile measures on a new SQLite file, on a real disk and not in memory.
func withFile(measure func(path string) (figures, error)) (figures, error) {
	dir, err := os.MkdirTemp("/var/tmp", "lastcall-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // of the temporary directory anyway
	return measure(filepath.Join(dir, "tasks.db"))
}
