//go:build linux

package server

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// The environment of a helper, and its jobs.
const (
	envJob        = "CHAOS_SQLITE_JOB"
	envFile       = "CHAOS_SQLITE_FILE"
	jobLock       = "lock"
	jobCheckpoint = "checkpoint"
)

// The output of a helper that makes checkpoints, before and after each of them.
const (
	saysBegin = '('
	saysEnd   = ')'
)

// Help does the work of a helper if this process was started as one, and in that case does not
// return. The program of a run, and the tests that begin faults of a File, call it first.
func Help() {
	job := os.Getenv(envJob)
	if job == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := help(ctx, job); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func help(ctx context.Context, job string) error {
	db, err := sql.Open("sqlite", "file:"+os.Getenv(envFile)+"?_pragma=busy_timeout(20000)")
	if err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	switch job {
	case jobLock:
		if _, err := conn.ExecContext(ctx, `begin immediate`); err != nil {
			return err
		}
		if _, err := os.Stdout.Write([]byte{saysBegin}); err != nil {
			return err
		}
		<-ctx.Done() // it is killed before that
		return ctx.Err()
	case jobCheckpoint:
		return checkpoints(ctx, conn)
	}
	return errors.New("there is no such job")
}

// checkpoints makes one checkpoint after the other, each when something was added to the log. They
// are passive, so they wait for no other connection and only work on the file.
func checkpoints(ctx context.Context, conn *sql.Conn) error {
	log := os.Getenv(envFile) + "-wal"
	var last time.Time
	for ctx.Err() == nil {
		info, err := os.Stat(log)
		if err != nil || info.Size() == 0 || info.ModTime().Equal(last) {
			pause(ctx, time.Millisecond)
			continue
		}
		last = info.ModTime()
		if _, err := os.Stdout.Write([]byte{saysBegin}); err != nil {
			return err
		}
		if _, err := conn.ExecContext(ctx, `pragma wal_checkpoint(passive)`); err != nil {
			return err
		}
		if _, err := os.Stdout.Write([]byte{saysEnd}); err != nil {
			return err
		}
	}
	return ctx.Err()
}
