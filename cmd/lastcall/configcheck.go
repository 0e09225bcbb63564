package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task/httpapi"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check a configuration file",
		Args:  noSuchCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigCheck())
	return cmd
}

func newConfigCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Print every problem of a configuration file, with its line",
		Long: `Print every problem of a configuration file (default lastcall.yaml), with its line and what to do.

It checks what serve checks when it starts: keys, values, and whether the programs and directories
exist and can be used on this machine by this user. It opens no store. For each schedule it prints
the next five times at which it is due.

Exit codes: 0 there is no problem; 1 there are some, or the file cannot be read; 2 the command line
was not understood.`,
		Example: `  lastcall config check
  lastcall config check /etc/lastcall/lastcall.yaml`,
		Args: func(cmd *cobra.Command, given []string) error {
			if len(given) > 1 {
				return args(1, "[FILE]")(cmd, given)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, given []string) error {
			path := "lastcall.yaml"
			if len(given) == 1 {
				path = given[0]
			}
			return checkConfig(cmd, path)
		},
	}
}

func checkConfig(cmd *cobra.Command, path string) error {
	var c config
	faults, err := c.read(path)
	if err != nil {
		return err
	}
	more := c.faults()
	if c.TokenFile != "" {
		if _, err := httpapi.LoadTokens(c.TokenFile, nil); err != nil {
			more = append(more, fault{key: []string{"tokenFile"}, text: err.Error()})
		}
	}
	found := c.file.located(append(faults, c.file.elsewhere(more, faults)...))
	out := cmd.OutOrStdout()
	for _, p := range found {
		fmt.Fprintln(out, p)
	}
	if len(found) > 0 {
		return exitError(1)
	}
	kinds := slices.Sorted(maps.Keys(c.Kinds))
	names := "no programs"
	if len(kinds) > 0 {
		names = "programs for the kinds " + strings.Join(kinds, ", ")
	}
	if _, err := fmt.Fprintf(out, "%s: no problems, %s\n", path, names); err != nil {
		return err
	}
	return c.printNextTicks(out, time.Now())
}
