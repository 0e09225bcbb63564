package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task/pgstore"
)

func newMigrate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Create a store's tables, or bring them up to date",
		Long: `Create a store's tables in PostgreSQL, or bring them up to date. A SQLite file needs no such
command: it is brought up to date when it is opened.

Two versions of the program can run side by side on one database while a new one is rolled out:
migrate first.`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newMigrateUp(), newMigrateStatus(), newMigrateSQL())
	return cmd
}

// storeFlags are the flags that choose a store.
type storeFlags struct{ store, file string }

func (f *storeFlags) define(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.store, "store", "", storeUsage)
	cmd.Flags().StringVar(&f.file, "store-file", "", "file that contains the address of the store")
	cmd.MarkFlagsMutuallyExclusive("store", "store-file")
}

func (f *storeFlags) address() (string, error) {
	(&target{storeFile: f.file}).warnOfLoose(os.Stderr)
	address, err := storeAddress(f.store, f.file)
	if err == nil && address == "" {
		err = usageError{errors.New("no store given: use --store, --store-file or $" + storeEnv)}
	}
	return address, err
}

func newMigrateUp() *cobra.Command {
	var flags storeFlags
	cmd := &cobra.Command{
		Use:     "up",
		Short:   "Create the tables, or bring them up to date",
		Long:    "Create the tables, or bring them up to date, in one transaction. Running it several times at\nonce does no harm. It needs a role that may create a schema; serve needs only rights to the\ntables in it.",
		Example: "  lastcall migrate up --store postgres://admin@db.example/tasks",
		Args:    args(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			address, err := flags.address()
			if err != nil {
				return err
			}
			s, err := openStore(cmd.Context(), address, openOptions{create: true, migrate: true}, slog.Default())
			if err != nil {
				return err
			}
			if err := s.Close(); err != nil {
				return err
			}
			return printSchema(cmd, address)
		},
	}
	flags.define(cmd)
	return cmd
}

func newMigrateStatus() *cobra.Command {
	var flags storeFlags
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Print which version the tables have",
		Long:    "Print which version the tables have, and which one this program creates. It changes nothing.\n\nExit codes: 0 this program can use them; 1 it cannot, or they cannot be read.",
		Example: "  lastcall migrate status --store postgres://tasks@db.example/tasks",
		Args:    args(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			address, err := flags.address()
			if err != nil {
				return err
			}
			return printSchema(cmd, address)
		},
	}
	flags.define(cmd)
	return cmd
}

// printSchema prints the version of a store's tables. It returns an error if this program cannot
// use them.
func printSchema(cmd *cobra.Command, address string) error {
	state, usable, err := schemaText(cmd.Context(), address)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", shownStore(address), state); err != nil {
		return err
	}
	if !usable {
		return exitError(1)
	}
	return nil
}

// schemaText returns the version of a store's tables in words, and whether this program can use
// them.
func schemaText(ctx context.Context, address string) (text string, usable bool, err error) {
	if !isPostgres(address) {
		s, err := openStore(ctx, address, openOptions{}, slog.Default())
		if err != nil {
			return "", false, err
		}
		return "up to date, as every SQLite file that has been opened", true, s.Close()
	}
	state, err := pgstore.InspectSchema(ctx, pgstore.Config{DSN: address})
	if err != nil {
		return "", false, err
	}
	return schemaWords(state), state.Usable(), nil
}

func schemaWords(s pgstore.SchemaState) string {
	switch {
	case s.Version == 0:
		return fmt.Sprintf("the schema %s has no tables yet: lastcall migrate up makes them", s.Schema)
	case s.MinCompatible > s.Latest:
		return fmt.Sprintf("the schema %s has version %d, of a newer lastcall; this program knows %d: use the newer program", s.Schema, s.Version, s.Latest)
	case s.Version < s.Latest:
		return fmt.Sprintf("the schema %s has version %d, and this program needs %d: lastcall migrate up brings it up to date", s.Schema, s.Version, s.Latest)
	case s.Version > s.Latest:
		return fmt.Sprintf("the schema %s has version %d, newer than this program's %d, and can be used by it", s.Schema, s.Version, s.Latest)
	}
	return fmt.Sprintf("the schema %s is up to date, version %d", s.Schema, s.Version)
}

func newMigrateSQL() *cobra.Command {
	var from int
	cmd := &cobra.Command{
		Use:   "sql",
		Short: "Print the statements of migrate up",
		Long: `Print the statements of migrate up, to run them with another role or another tool. They are one
transaction. If the tables have another version than --from, they fail and change nothing.`,
		Example: `  lastcall migrate sql | psql postgres://admin@db.example/tasks
  lastcall migrate sql --from 1`,
		Args: args(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			sql, err := pgstore.SchemaSQL("", from)
			if err != nil {
				return usageError{err}
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), sql)
			return err
		},
	}
	cmd.Flags().IntVar(&from, "from", 0, "the version that the tables have now, as migrate status prints it")
	return cmd
}
