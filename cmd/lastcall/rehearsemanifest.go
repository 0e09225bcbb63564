//go:build !norehearse

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/image"
	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/manifest"
	"github.com/lastcall-go/lastcall/rehearse"
)

// manifestFlags are the flags about a manifest.
type manifestFlags struct {
	names               []string
	workload, container string
	files, sidecars     []string
	withoutMissing      bool
}

func (m *manifestFlags) flags(f *pflag.FlagSet) {
	f.StringArrayVarP(&m.names, "manifest", "f", nil, "use the grace, hooks, probes and environment of this manifest, - for standard input; may be given several times")
	f.StringVar(&m.workload, "workload", "", "the workload of the manifest: NAME or KIND/NAME")
	f.StringVar(&m.container, "container", "", "the container of the workload")
	f.StringArrayVar(&m.files, "file", nil, "PATH=LOCAL, a file or directory of this machine that replaces one of the container; may be given several times")
	f.StringArrayVar(&m.sidecars, "sidecar-command", nil, "NAME=COMMAND, the command to run here for a sidecar of the manifest; may be given several times")
	f.BoolVar(&m.withoutMissing, "without-missing", false, "go on without what the manifest needs but is not given")
}

// plan completes a rehearsal's configuration with what the manifest describes. Without a manifest
// it returns nil. Flags that were given on the command line override the manifest. The command
// replaces that of the image; empty means the image's own.
func (m *manifestFlags) plan(cmd *cobra.Command, c *rehearse.Config, command []string, im *image.Image) (*manifest.Plan, error) {
	if len(m.names) == 0 {
		if m.workload != "" || m.container != "" || m.files != nil || m.sidecars != nil || m.withoutMissing {
			return nil, usageError{errors.New("--workload, --container, --file, --sidecar-command and --without-missing say something about a manifest: give it with -f")}
		}
		return nil, nil
	}
	given := manifest.Given{Container: m.container, Command: command, Env: c.Program.Env, WithoutMissing: m.withoutMissing}
	var err error
	if given.Files, err = pairs("--file", "PATH=LOCAL, as in --file /etc/app=./config", m.files); err != nil {
		return nil, err
	}
	if given.Sidecars, err = pairs("--sidecar-command", "NAME=COMMAND, as in --sidecar-command proxy='envoy -c local.yaml'", m.sidecars); err != nil {
		return nil, err
	}
	if im != nil {
		given.Image = inManifest(im)
	}
	set, err := readManifests(cmd.InOrStdin(), m.names)
	if err != nil {
		return nil, err
	}
	workload, err := set.Workload(m.workload)
	if err != nil {
		return nil, err
	}
	plan, err := set.Plan(workload, given)
	if err != nil {
		return nil, err
	}
	m.fill(cmd.Flags(), c, plan)
	for _, note := range plan.Notes {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", note)
	}
	return plan, nil
}

// inManifest returns what a manifest has to know of an image.
func inManifest(im *image.Image) *manifest.Image {
	return &manifest.Image{
		Name: im.Name, Root: im.Root, Entrypoint: im.Entrypoint, Cmd: im.Cmd, User: im.User, UserName: im.UserName, Group: im.Group,
		Groups: im.Groups, Env: im.Env, StopSignal: im.StopSignal,
	}
}

// fill copies a plan into a configuration, except for what flags set.
func (m *manifestFlags) fill(flags *pflag.FlagSet, c *rehearse.Config, plan *manifest.Plan) {
	program, image := plan.Config.Program, c.Program
	if flags.Changed("stop-signal") || program.StopSignal == 0 {
		program.StopSignal = image.StopSignal
	}
	if program.Dir == "" {
		program.Dir = image.Dir
	}
	if !flags.Changed("grace") {
		c.Grace = plan.Config.Grace
	}
	if !slices.ContainsFunc(c.Traffic, func(t rehearse.Target) bool { return t.Use == rehearse.Ask }) {
		c.Traffic = append(c.Traffic, plan.Config.Traffic...)
	}
	c.Program, c.Sidecars = program, plan.Config.Sidecars
}

// pairs parses the NAME=VALUE texts of a flag.
func pairs(flag, form string, all []string) (map[string]string, error) {
	found := make(map[string]string)
	for _, one := range all {
		name, value, ok := strings.Cut(one, "=")
		if !ok || name == "" || value == "" {
			return nil, usageError{fmt.Errorf("%s %q: it is %s", flag, one, form)}
		}
		found[name] = value
	}
	return found, nil
}

// readManifests reads the files of the given names.
func readManifests(stdin io.Reader, names []string) (*manifest.Set, error) {
	var sources []manifest.Source
	for _, name := range names {
		source := manifest.Source{Name: name}
		var err error
		if name == "-" {
			source.Name = ""
			source.Text, err = io.ReadAll(stdin)
		} else {
			source.Text, err = os.ReadFile(name)
		}
		if err != nil {
			return nil, fmt.Errorf("read the manifest: %w", err)
		}
		sources = append(sources, source)
	}
	return manifest.Read(sources...)
}
