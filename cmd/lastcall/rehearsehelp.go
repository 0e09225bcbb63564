package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagGroups groups the flags of rehearse by subject. Flags that are in no group come last.
var flagGroups = []struct {
	title string
	names []string
}{
	{"The pod", []string{
		"manifest", "container", "workload", "without-missing", "image", "network", "env", "file", "grace", "node-grace",
		"pre-stop", "stop-signal", "readiness", "liveness", "startup", "probe-period", "sidecar",
		"sidecar-command", "endpoint-lag",
	}},
	{"Clients", []string{"http", "http2", "tcp", "grpc", "slow", "stream", "websocket", "rate", "ready", "any-host"}},
	{"What is rehearsed", []string{"quick", "scenario", "whole-grace"}},
	{"The report", []string{
		"verbose", "json", "html", "junit", "sarif", "github", "source", "baseline", "write-baseline", "explain", "language", "program",
	}},
}

// helpColumns is the width of the help about flags.
const helpColumns = 100

// rehearseUsage writes the usage of rehearse, with its flags in groups.
func rehearseUsage(cmd *cobra.Command) error {
	var sets []*pflag.FlagSet
	rest := pflag.NewFlagSet("", pflag.ContinueOnError)
	for range flagGroups {
		set := pflag.NewFlagSet("", pflag.ContinueOnError)
		set.SortFlags = false
		sets = append(sets, set)
	}
	for i, group := range flagGroups {
		for _, name := range group.names {
			if f := cmd.LocalFlags().Lookup(name); f != nil {
				sets[i].AddFlag(f)
			}
		}
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if !slices.ContainsFunc(sets, func(s *pflag.FlagSet) bool { return s.Lookup(f.Name) != nil }) {
			rest.AddFlag(f)
		}
	})
	text := fmt.Sprintf("Usage:\n  %s\n\nExamples:\n%s\n", cmd.UseLine(), cmd.Example)
	for i, group := range flagGroups {
		if sets[i].HasFlags() {
			text += fmt.Sprintf("\n%s:\n%s", group.title, sets[i].FlagUsagesWrapped(helpColumns))
		}
	}
	text += "\nOther flags:\n" + rest.FlagUsagesWrapped(helpColumns)
	_, err := io.WriteString(cmd.OutOrStderr(), text)
	return err
}
