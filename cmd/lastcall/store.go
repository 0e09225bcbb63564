package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/lastcall-go/lastcall/sqlitestore"
	"github.com/lastcall-go/lastcall/task"
)

// openStore opens the store of an address. Unless create is set a file that does not exist is an
// error: who lists or shows has mistyped it.
func openStore(ctx context.Context, address string, create bool, log *slog.Logger) (task.Store, error) {
	scheme, path, ok := strings.Cut(address, ":")
	if !ok || scheme != "sqlite" || path == "" {
		shown := address
		if ok {
			shown = scheme + ":..." // what follows may hold a password
		}
		return nil, fmt.Errorf("store %q is not understood: use sqlite:PATH, as sqlite:/var/lib/lastcall/tasks.db", shown)
	}
	if !create {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("store %s: no such file: serve or submit makes it", address)
		}
	}
	return sqlitestore.Open(ctx, sqlitestore.Config{Path: path, Logger: log})
}
