package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/pgstore"
	"github.com/lastcall-go/lastcall/task/sqlitestore"
)

// storeEnv is a variable with the address of a store. A flag overrides it, and it overrides the
// configuration file.
const storeEnv = "LASTCALL_STORE"

// storeUsage describes the flag --store.
const storeUsage = "sqlite:PATH or postgres://USER@HOST/DATABASE (default $" + storeEnv + "; a password is better kept in --store-file)"

// openOptions limit what openStore may create.
type openOptions struct {
	// create allows a new SQLite file. Commands that only read refuse one: its name would be mistyped.
	create bool
	// migrate allows tables to be created or changed in PostgreSQL.
	migrate bool
	// wait is how long to wait for a PostgreSQL server that is not available.
	wait time.Duration
}

// openStore opens the store at an address.
func openStore(ctx context.Context, address string, opt openOptions, log *slog.Logger) (task.Store, error) {
	if isPostgres(address) {
		return pgstore.Open(ctx, pgstore.Config{DSN: address, Migrate: opt.migrate, Wait: opt.wait, Logger: log})
	}
	if err := checkAddress(address); err != nil {
		return nil, err
	}
	path := strings.TrimPrefix(address, "sqlite:")
	s, err := sqlitestore.Open(ctx, sqlitestore.Config{Path: path, MustExist: !opt.create, Logger: log})
	if !opt.create && errors.Is(err, fs.ErrNotExist) {
		if _, missing := os.Stat(path); missing != nil {
			return nil, fmt.Errorf("store %s: no such file: serve or submit makes it", address)
		}
		return nil, fmt.Errorf("store %s: there are no tasks in it, and no tables for them: serve or submit makes them", address)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// checkAddress refuses an address that is not understood, and a path that would name another file
// than its author means: a URL, SQLite's own special names, or what a shell was expected to expand.
func checkAddress(address string) error {
	if isPostgres(address) {
		return nil
	}
	path, ok := strings.CutPrefix(address, "sqlite:")
	if !ok || path == "" {
		return fmt.Errorf("the address of the store%s is not understood: use sqlite:PATH, as sqlite:/var/lib/lastcall/tasks.db, or postgres://USER@HOST/DATABASE", schemeOf(address))
	}
	var why string
	switch {
	case strings.HasPrefix(path, "//"):
		why = "it looks like a URL, and what follows sqlite: is a path: write sqlite:tasks.db or sqlite:/var/lib/lastcall/tasks.db"
	case strings.HasPrefix(path, ":"):
		why = "there is no store in memory, since other processes could not see it: name a file"
	case strings.HasPrefix(strings.ToLower(path), "file:") || uriParameter.MatchString(path):
		why = "SQLite's URIs and their parameters are not understood: write the path alone"
	case strings.HasPrefix(path, "~"):
		why = "only a shell knows what ~ is, at the beginning of a word: write the whole path"
	case strings.TrimSpace(path) != path, strings.Trim(path, "\"'") != path:
		why = "it has white space or quotes around it: write the path alone"
	case sidecar.MatchString(path):
		why = "that is the name of a file next to a database: name the database itself"
	default:
		return nil
	}
	return fmt.Errorf("store %s: %s", address, why)
}

// isPostgres reports whether an address is a URL of PostgreSQL or has libpq's keywords, as in
// "host=db.example dbname=tasks".
func isPostgres(address string) bool {
	return strings.HasPrefix(address, "postgres:") || strings.HasPrefix(address, "postgresql:") || keywords.MatchString(address)
}

var (
	keywords = regexp.MustCompile(`^[a-z_]+\s*=`)
	// uriParameter and sidecar match the end of a name that means something else to SQLite.
	uriParameter = regexp.MustCompile(`\?[A-Za-z_]+=`)
	sidecar      = regexp.MustCompile(`-(wal|shm|journal|workers)/?$`)
	scheme       = regexp.MustCompile(`^[A-Za-z]{2,12}://`)
)

// schemeOf returns what may be shown of an address that is not understood: its scheme, if it has
// one. The rest may contain a password, or be one.
func schemeOf(address string) string {
	if found := scheme.FindString(address); found != "" {
		return " (" + found + "...)"
	}
	return ""
}

// storeAddress returns the address from the flags or the environment, "" if neither has one.
func storeAddress(flag, file string) (string, error) {
	if flag != "" {
		return strings.TrimSpace(flag), nil
	}
	if file == "" {
		return strings.TrimSpace(os.Getenv(storeEnv)), nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("store file: %w", err)
	}
	address := string(bytes.TrimSpace(b))
	if address == "" || strings.ContainsAny(address, "\r\n") {
		return "", fmt.Errorf("store file %s: write the address of the store into it, alone on its line", file)
	}
	return address, nil
}

// shownStore returns an address without its secrets.
func shownStore(address string) string {
	if strings.HasPrefix(address, "sqlite:") {
		return address
	}
	cfg, err := pgxpool.ParseConfig(address)
	if err != nil {
		return "a store"
	}
	return fmt.Sprintf("the PostgreSQL database %s on %s", cfg.ConnConfig.Database, cfg.ConnConfig.Host)
}
