//go:build !norehearse

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/image"
	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/manifest"
)

// examineManifests reports what is wrong in manifests, and in the image of their containers if one
// is given, without running anything.
func examineManifests(cmd *cobra.Command, names []string, file, container string) (err error) {
	set, err := readManifests(cmd.InOrStdin(), names)
	if err == nil {
		err = set.Empty()
	}
	if err != nil {
		return err
	}
	if file != "" {
		im, err := openImage(cmd, file)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, im.Close()) }()
		if err := set.Unpacked(inManifest(im), file, container); err != nil {
			return err
		}
	}
	return writeExamination(cmd.OutOrStdout(), set)
}

// openImage unpacks the image of a file, or of a container engine.
func openImage(cmd *cobra.Command, name string) (*image.Image, error) {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exported, err := image.Export(ctx, name)
	if err != nil {
		return nil, err
	}
	return image.Unpack(ctx, name, exported)
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
