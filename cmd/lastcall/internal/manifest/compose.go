package manifest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	core "k8s.io/api/core/v1"
)

// composeGrace is the default of stop_grace_period.
const composeGrace = 10 * time.Second

// isCompose reports whether a document is a Compose file.
func (d *document) isCompose() bool {
	_, services := child(d.root, "services")
	_, version := child(d.root, "apiVersion")
	return services != nil && version == nil
}

// addCompose adds the services of Compose files. A later file overrides an earlier one. The files
// are read as docker compose reads them: with the variables of the environment and of .env, and
// with includes and extends. All profiles are active.
func (s *Set) addCompose(files []*document) error {
	if len(files) == 0 {
		return nil
	}
	dir := "."
	if !files[0].standardInput {
		dir = filepath.Dir(files[0].source)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	environment := make(map[string]string)
	for _, one := range os.Environ() {
		name, value, _ := strings.Cut(one, "=")
		environment[name] = value
	}
	if file := filepath.Join(dir, ".env"); exists(file) {
		more, err := dotenv.GetEnvFromFile(environment, []string{file})
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		maps.Copy(more, environment) // the process environment wins
		environment = more
	}
	details := types.ConfigDetails{WorkingDir: dir, Environment: environment}
	for _, file := range files {
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: file.source, Content: file.text})
	}
	project, err := loader.LoadWithContext(context.Background(), details, func(o *loader.Options) {
		o.SetProjectName("rehearsal", false)
		o.Profiles = []string{"*"}
	})
	if err != nil {
		return composeError(files, err)
	}
	for _, name := range project.ServiceNames() {
		w, err := composeWorkload(files, project, project.Services[name])
		if err != nil {
			return err
		}
		s.Workloads = append(s.Workloads, w)
	}
	return nil
}

var (
	composePath  = regexp.MustCompile(`\b((?:services|volumes|secrets|configs)\.[\w.-]+)`)
	composeExtra = regexp.MustCompile(`additional properties '([\w.-]+)' not allowed`)
)

// composeError adds to an error of Compose's own reader the line that it is about, if that is
// known.
func composeError(files []*document, err error) error {
	text := err.Error()
	path := composePath.FindString(text)
	if extra := composeExtra.FindStringSubmatch(text); extra != nil {
		path += "." + extra[1]
	}
	for _, file := range files {
		text = strings.TrimPrefix(text, "validating "+file.source+": ")
	}
	return files[0].errorAt(path, "%s", text)
}

// composeWorkload describes a service as a pod with one container.
func composeWorkload(files []*document, project *types.Project, service types.ServiceConfig) (*Workload, error) {
	w := &Workload{document: files[0], Kind: "service", Name: service.Name, Replicas: service.GetScale(), compose: true, pod: "services." + service.Name}
	for _, file := range files {
		if _, all := child(file.root, "services"); all != nil {
			if _, own := child(all, service.Name); own != nil {
				w.document = file
				break
			}
		}
	}
	grace := composeGrace
	if service.StopGracePeriod != nil {
		grace = time.Duration(*service.StopGracePeriod)
	}
	if grace < 0 {
		return nil, w.errorAt(w.pod+".stop_grace_period", "stop_grace_period is %v and must not be negative", grace)
	}
	seconds := int64((grace + time.Second - 1) / time.Second)
	c := core.Container{Name: service.Name, Image: service.Image, Command: service.Entrypoint, Args: service.Command}
	for _, name := range slices.Sorted(maps.Keys(service.Environment)) {
		if value := service.Environment[name]; value != nil {
			c.Env = append(c.Env, core.EnvVar{Name: name, Value: *value})
		}
	}
	for _, p := range service.Ports {
		c.Ports = append(c.Ports, core.ContainerPort{Name: p.AppProtocol, ContainerPort: int32(p.Target), Protocol: core.Protocol(strings.ToUpper(p.Protocol))})
	}
	var life core.Lifecycle
	if service.StopSignal != "" {
		life.StopSignal = (*core.Signal)(&service.StopSignal)
	}
	if hooks := len(service.PreStop); hooks > 0 {
		life.PreStop = &core.LifecycleHandler{Exec: &core.ExecAction{Command: service.PreStop[0].Command}}
		if hooks > 1 {
			w.remark("only the first of the %d pre_stop hooks of %s is run", hooks, service.Name)
		}
	}
	if life != (core.Lifecycle{}) {
		c.Lifecycle = &life
	}
	c.StartupProbe = healthcheck(service.HealthCheck)
	w.Pod = core.PodSpec{TerminationGracePeriodSeconds: &seconds}
	w.composeVolumes(&c, project, service)
	w.Pod.Containers = []core.Container{c}
	w.init = service.Init != nil && *service.Init
	return w, w.check()
}

// remark adds a note to every plan of the workload.
func (w *Workload) remark(format string, args ...any) {
	w.remarks = append(w.remarks, fmt.Sprintf(format, args...))
}

// healthcheck is the probe that shows when a service is ready. Docker does not use it to route
// clients, and runs it every 30 s by default. Here it runs every second until it succeeds.
func healthcheck(h *types.HealthCheckConfig) *core.Probe {
	if h == nil || h.Disable || len(h.Test) == 0 {
		return nil
	}
	command := h.Test[1:]
	switch h.Test[0] {
	case "CMD":
	case "CMD-SHELL":
		command = []string{"/bin/sh", "-c", strings.Join(command, " ")}
	default: // NONE
		return nil
	}
	if len(command) == 0 {
		return nil
	}
	probe := &core.Probe{PeriodSeconds: 1, FailureThreshold: 600, TimeoutSeconds: 30}
	probe.Exec = &core.ExecAction{Command: command}
	if h.Timeout != nil {
		probe.TimeoutSeconds = max(int32(time.Duration(*h.Timeout)/time.Second), 1)
	}
	return probe
}

// composeVolumes gives a container the volumes, secrets and configs of its service.
func (w *Workload) composeVolumes(c *core.Container, project *types.Project, service types.ServiceConfig) {
	add := func(target string, source core.VolumeSource) {
		name := fmt.Sprintf("volume-%d", len(c.VolumeMounts))
		w.Pod.Volumes = append(w.Pod.Volumes, core.Volume{Name: name, VolumeSource: source})
		c.VolumeMounts = append(c.VolumeMounts, core.VolumeMount{Name: name, MountPath: target})
	}
	host := func(file string) core.VolumeSource {
		return core.VolumeSource{HostPath: &core.HostPathVolumeSource{Path: file}}
	}
	for _, v := range service.Volumes {
		switch v.Type {
		case types.VolumeTypeBind:
			add(v.Target, host(v.Source))
		case types.VolumeTypeTmpfs:
			add(v.Target, core.VolumeSource{EmptyDir: new(core.EmptyDirVolumeSource)})
		default:
			add(v.Target, core.VolumeSource{Ephemeral: new(core.EphemeralVolumeSource)})
			w.Pod.Volumes[len(w.Pod.Volumes)-1].Name = v.Source
			c.VolumeMounts[len(c.VolumeMounts)-1].Name = v.Source
		}
	}
	reference := func(kind, below string, ref types.FileReferenceConfig, object types.FileObjectConfig) {
		target := ref.Target
		if target == "" {
			target = ref.Source
		}
		if !strings.HasPrefix(target, "/") {
			target = below + target
		}
		switch {
		case object.File != "":
			add(target, host(object.File))
		default:
			add(target, core.VolumeSource{})
			w.Pod.Volumes[len(w.Pod.Volumes)-1].Name = kind + " " + ref.Source
			c.VolumeMounts[len(c.VolumeMounts)-1].Name = kind + " " + ref.Source
		}
	}
	for _, one := range service.Secrets {
		reference("secret", "/run/secrets/", types.FileReferenceConfig(one), types.FileObjectConfig(project.Secrets[one.Source]))
	}
	for _, one := range service.Configs {
		reference("config", "/", types.FileReferenceConfig(one), types.FileObjectConfig(project.Configs[one.Source]))
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return !errors.Is(err, os.ErrNotExist)
}
