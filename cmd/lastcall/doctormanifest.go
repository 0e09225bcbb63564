//go:build !norehearse

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/manifest"
)

// examineManifests reports what is wrong in manifests, without running anything.
func examineManifests(cmd *cobra.Command, names []string) error {
	set, err := readManifests(cmd.InOrStdin(), names)
	if err == nil {
		err = set.Empty()
	}
	if err != nil {
		return err
	}
	return writeExamination(cmd.OutOrStdout(), set)
}

// writeExamination writes a line for each finding, and one for each workload without any.
func writeExamination(w io.Writer, set *manifest.Set) error {
	d := &doctor{w: w}
	findings := set.Examine()
	worst := 0
	for i, f := range findings {
		say := d.warn
		if f.Fails {
			say = d.fail
			if !findings[worst].Fails {
				worst = i
			}
		}
		say(string(f.Code), "%s: %s %s: %s. %s", f.Place, f.Who, manifest.Title(f.Code), f.Seen, manifest.Change(f.Code))
	}
	for _, workload := range set.Workloads {
		if !workload.In(findings) {
			d.ok("manifest", "%s: nothing is wrong with %s", workload.Place(), workload)
		}
	}
	if d.err == nil && len(findings) > 0 {
		_, d.err = fmt.Fprintf(w, "Why it matters: lastcall rehearse --explain %s\n", findings[worst].Code)
	}
	if d.failed {
		return exitError(1)
	}
	return d.err
}
