package image

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/rehearse"
)

// defaultPath is the PATH that container runtimes use if an image sets none.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// healthConfig is the part of a HEALTHCHECK that a rehearsal uses. How often a rehearsal runs it,
// and how often it may fail, differs from Docker.
type healthConfig struct {
	Test    []string
	Timeout time.Duration
}

// configure reads the configuration, and looks its user up in the image's files.
func (i *Image) configure(c config, t *tree) error {
	said := c.Config
	i.Entrypoint, i.Cmd, i.Dir, i.UserName = said.Entrypoint, said.Cmd, said.WorkingDir, said.User
	var home string
	var err error
	if i.User, i.Group, i.Groups, home, err = t.user(said.User); err != nil {
		return err
	}
	i.Env = said.Env
	for _, fallback := range []string{defaultPath, "HOME=" + home, "HOSTNAME=rehearsal"} {
		name, _, _ := strings.Cut(fallback, "=")
		if !slices.ContainsFunc(i.Env, func(pair string) bool { return strings.HasPrefix(pair, name+"=") }) {
			i.Env = append(i.Env, fallback)
		}
	}
	for _, text := range slices.Concat(i.Env, i.Entrypoint, i.Cmd, []string{i.Dir}) {
		if strings.Contains(text, "\x00") {
			return fmt.Errorf("its configuration has a zero byte in %q", text)
		}
	}
	for port := range said.ExposedPorts {
		number, protocol, _ := strings.Cut(port, "/")
		if n, err := strconv.Atoi(number); err == nil && n > 0 && n < 1<<16 && (protocol == "" || protocol == "tcp") {
			i.Ports = append(i.Ports, n)
		}
	}
	slices.Sort(i.Ports)
	i.Healthcheck = said.Healthcheck.probe()
	if said.StopSignal != "" {
		i.StopSignal, err = rehearse.ParseSignal(said.StopSignal)
	}
	return err
}

// probe returns the check as a probe, nil if there is nothing to execute.
func (h *healthConfig) probe() *rehearse.Probe {
	if h == nil || len(h.Test) < 2 {
		return nil
	}
	command := h.Test[1:]
	switch h.Test[0] {
	case "CMD":
	case "CMD-SHELL":
		command = append([]string{"/bin/sh", "-c"}, command...)
	default: // NONE
		return nil
	}
	timeout := h.Timeout
	if timeout <= 0 {
		timeout = 30 * time.Second
	}
	const often = 1000 // the rehearsal itself limits how long a program may take to become ready
	return &rehearse.Probe{Exec: command, Period: time.Second, Timeout: timeout, FailureThreshold: often}
}
