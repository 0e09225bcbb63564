package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/manifest"
	"github.com/lastcall-go/lastcall/rehearse"
)

// manifestFlags are the flags of what comes from a manifest.
type manifestFlags struct {
	names               []string
	workload, container string
	files               []string
	withoutMissing      bool
}

func (m *manifestFlags) flags(f *pflag.FlagSet) {
	f.StringArrayVarP(&m.names, "manifest", "f", nil, "take grace, hooks, probes and environment from this manifest, - for standard input; may be given several times")
	f.StringVar(&m.workload, "workload", "", "which one of the manifest: NAME or KIND/NAME")
	f.StringVar(&m.container, "container", "", "which container of the workload")
	f.StringArrayVar(&m.files, "file", nil, "PATH=LOCAL, a file or directory of this machine for one of the container; may be given several times")
	f.BoolVar(&m.withoutMissing, "without-missing", false, "go on without what the manifest wants and is not given")
}

// plan makes of the manifest what it says about the rehearsal, nil without a manifest. The flags that
// were given on the command line win.
func (m *manifestFlags) plan(cmd *cobra.Command, c *rehearse.Config) (*manifest.Plan, error) {
	if len(m.names) == 0 {
		if m.workload != "" || m.container != "" || m.files != nil {
			return nil, usageError{errors.New("--workload, --container and --file say something about a manifest: give it with -f")}
		}
		return nil, nil
	}
	files := make(map[string]string)
	for _, file := range m.files {
		target, local, ok := strings.Cut(file, "=")
		if !ok {
			return nil, usageError{fmt.Errorf("--file %q: it is PATH=LOCAL, as in --file /etc/app=./config", file)}
		}
		files[target] = local
	}
	set, err := readManifests(cmd.InOrStdin(), m.names)
	if err != nil {
		return nil, err
	}
	workload, err := set.Workload(m.workload)
	if err != nil {
		return nil, err
	}
	plan, err := set.Plan(workload, manifest.Given{
		Container: m.container, Command: c.Program.Command, Env: c.Program.Env, Files: files, WithoutMissing: m.withoutMissing,
	})
	if err != nil {
		return nil, err
	}
	given, program := cmd.Flags().Changed, plan.Config.Program
	if given("pre-stop") {
		program.PreStop = c.Program.PreStop
	}
	if given("stop-signal") {
		program.StopSignal = c.Program.StopSignal
	}
	if !given("grace") {
		c.Grace = plan.Config.Grace
	}
	if !given("http") {
		c.URL = plan.Config.URL
	}
	c.Program, c.Sidecars = program, plan.Config.Sidecars
	for _, note := range plan.Notes {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", note)
	}
	return plan, nil
}

// readManifests reads the files of the given names.
func readManifests(stdin io.Reader, names []string) (*manifest.Set, error) {
	var sources []manifest.Source
	for _, name := range names {
		source := manifest.Source{Name: name}
		var err error
		if name == "-" {
			source.Name = "standard input"
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

// notRehearsed says why a program was not rehearsed.
func notRehearsed(cmd *cobra.Command, err error) error {
	if errors.As(err, new(usageError)) {
		return err
	}
	complain(cmd.ErrOrStderr(), err)
	return exitError(2)
}
