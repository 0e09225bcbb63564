package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// cluster is a PostgreSQL for one measurement, with fsync on and the memory of a small server.
func cluster(settings ...string) (*pgtest.Server, error) {
	return pgtest.Start(append(settings, "shared_buffers=512MB", "max_wal_size=4GB")...)
}

// shared, if set, is used by all measurements instead: the test has no time for a cluster each.
var shared *pgtest.Server

// withCluster measures on a new cluster, with settings beside those of all.
func withCluster(measure func(server *pgtest.Server) (float64, error), settings ...string) (figure float64, err error) {
	if shared != nil {
		if err := tidy(shared); err != nil {
			return 0, err
		}
		return measure(shared)
	}
	server, err := cluster(settings...)
	if err != nil {
		return 0, err
	}
	defer func() {
		if closing := server.Close(); err == nil {
			err = closing
		}
	}()
	return measure(server)
}

// tidy removes what an earlier measurement has left.
func tidy(server *pgtest.Server) error {
	ctx := context.Background()
	db, err := pgx.Connect(ctx, server.DSN("postgres"))
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, `drop schema if exists lastcall cascade; drop schema public cascade; create schema public`)
	return errors.Join(err, db.Close(ctx))
}

// withFile measures on a new SQLite file, on a real disk and not in memory.
func withFile(measure func(path string) (float64, error)) (float64, error) {
	dir, err := os.MkdirTemp("/var/tmp", "lastcall-bench-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // of the temporary directory anyway
	return measure(filepath.Join(dir, "tasks.db"))
}

// processorTime is what this process and a server, if there is one, have used of the processors. Where
// other work takes a part of the machine it says more than the clock.
func processorTime(server int) (self, others time.Duration, err error) {
	if self, err = ticks(os.Getpid(), false); err != nil || server == 0 {
		return self, 0, err
	}
	if others, err = ticks(server, true); err != nil {
		return 0, 0, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, 0, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := statOf(pid)
		if err != nil || stat[1] != strconv.Itoa(server) { // gone, or somebody else's
			continue
		}
		if t, err := ticks(pid, false); err == nil {
			others += t
		}
	}
	return self, others, nil
}

// statOf returns the fields of /proc/PID/stat after the command's name: the state, the parent, ...
func statOf(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:])), nil
}

// ticks is the processor time of a process, and with children of those that it has waited for.
func ticks(pid int, children bool) (time.Duration, error) {
	stat, err := statOf(pid)
	if err != nil {
		return 0, err
	}
	sum := 0
	fields := stat[11:13] // utime, stime
	if children {
		fields = stat[11:15] // and cutime, cstime
	}
	for _, f := range fields {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * 10 * time.Millisecond, nil // 100 a second (man 5 proc)
}
