//go:build !norehearse

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/image"
	"github.com/lastcall-go/lastcall/rehearse"
)

// The names under which this process executes itself again on Linux: in namespaces that still have
// to be prepared, and in namespaces that are ready.
const (
	apartRaw   = "lastcall-rehearse-apart"
	apartReady = "lastcall-rehearse-inside"
)

// imageFlags are the flags for the surroundings of a rehearsed program: its image and its network.
type imageFlags struct {
	file, network string

	exported *image.Exported // the image of a container engine, nil if file is a file
}

func (i *imageFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&i.file, "image", "", "rehearse the program of this image: a file of docker save or podman save, an OCI layout, or the name of an image that Docker, Podman or containerd has")
	f.StringVar(&i.network, "network", networkHost, "what the rehearsal can reach: host is everything that this machine can, none is only itself")
}

// prepare completes a rehearsal's configuration with what an image and a manifest describe. The
// function remove deletes the files that were created for that.
func prepare(cmd *cobra.Command, c *rehearse.Config, command []string, from *manifestFlags, in *imageFlags) (remove func() error, err error) {
	im, err := in.unpack(cmd, c, len(from.names) > 0)
	if err != nil {
		return nil, err
	}
	plan, err := from.plan(cmd, c, command, im)
	if err != nil {
		return nil, errors.Join(err, im.Close())
	}
	return func() error { return errors.Join(plan.Close(), im.Close()) }, nil
}

// unpack makes the image's program the one that is rehearsed. Without an image it returns nil. The
// command line overrides the image. The image need not name a command if a manifest describes the
// program.
func (i *imageFlags) unpack(cmd *cobra.Command, c *rehearse.Config, described bool) (*image.Image, error) {
	if i.file == "" {
		return nil, nil
	}
	ctx, stop := untilInterrupt(cmd.Context())
	defer stop()
	im, err := image.Unpack(ctx, i.file, i.exported)
	if err != nil {
		return nil, err
	}
	program := im.Container(c.Program.Command)
	if len(program.Command) == 0 && !described {
		err := errors.New("the image has neither ENTRYPOINT nor CMD: give the command behind --")
		return nil, errors.Join(usageError{err}, im.Close())
	}
	c.Program.Command, c.Program.Dir, c.Program.Image = program.Command, program.Dir, program.Image
	if c.Program.Startup == nil {
		c.Program.Startup = program.Startup
	}
	if program.StopSignal != 0 && !cmd.Flags().Changed("stop-signal") {
		c.Program.StopSignal = program.StopSignal
	}
	if first := firstPort(); i.network == networkHost && len(im.Ports) > 0 && im.Ports[0] < first {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: the image exposes port %d, and its users are none of this machine's that may listen below %d: "+
			"have it listen on another port, or rehearse it with --network none\n", im.Ports[0], first)
	}
	return im, nil
}

// firstPort returns the first port on which every user may listen.
func firstPort() int {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text))) // the kernel writes numbers
	return n
}

// The values of --network.
const (
	networkHost = "host"
	networkNone = "none"
)

// enter runs the whole rehearsal in namespaces of its own, if it needs any. Then done is true, and
// err is the outcome. The image of a container engine is exported before that, since an engine may
// not be reached from there.
func (i *imageFlags) enter(cmd *cobra.Command) (done bool, err error) {
	if i.network != networkHost && i.network != networkNone {
		return false, usageError{fmt.Errorf("--network %q: it is host or none", i.network)}
	}
	if inside, err := i.inside(); inside {
		return false, err
	}
	if i.file != "" {
		ctx, stop := untilInterrupt(cmd.Context())
		defer stop()
		if i.exported, err = image.Export(ctx, i.file); err != nil {
			return false, err
		}
	}
	return i.apart(cmd)
}
