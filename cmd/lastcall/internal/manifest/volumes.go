package manifest

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"

	unpacked "github.com/lastcall-go/lastcall/cmd/lastcall/internal/image"
)

// volumes finds a replacement on this machine for each mount of the container: what the command
// line gives, files with the content of the manifest, or an empty directory.
func (p *Plan) volumes() error {
	for target, local := range p.given.Files {
		if !path.IsAbs(target) {
			return fmt.Errorf("--file %s=%s: the path in the container must begin with /", target, local)
		}
		absolute, err := filepath.Abs(local)
		if err == nil {
			_, err = os.Stat(absolute)
		}
		if err != nil {
			return fmt.Errorf("--file %s=%s: %w", target, local, err)
		}
		p.paths[path.Clean(target)] = absolute
	}
	for i := range p.container.VolumeMounts {
		if err := p.mount(&p.container.VolumeMounts[i]); err != nil {
			return err
		}
	}
	return nil
}

// mount finds the replacement for one mount.
func (p *Plan) mount(m *core.VolumeMount) error {
	target := path.Clean(m.MountPath)
	if p.isGiven(target) {
		return nil
	}
	if slices.Contains(p.workload.claims, m.Name) {
		return p.empty(target, m, "the volume "+m.Name+" of volumeClaimTemplates")
	}
	i := slices.IndexFunc(p.workload.Pod.Volumes, func(v core.Volume) bool { return v.Name == m.Name })
	if i < 0 {
		return p.workload.errorAt(p.workload.pod, "container %s mounts the volume %s, which the pod does not have", p.container.Name, m.Name)
	}
	v := &p.workload.Pod.Volumes[i]
	switch {
	case v.EmptyDir != nil:
		return p.empty(target, m, "")
	case v.Ephemeral != nil:
		return p.empty(target, m, "the volume "+v.Name)
	case v.HostPath != nil:
		// A directory of the node is not copied into an image: it may be /proc, or all of the node's
		// logs.
		if _, err := os.Stat(v.HostPath.Path); err == nil && (p.given.Image == nil || p.workload.compose) {
			p.paths[target] = path.Join(v.HostPath.Path, m.SubPath)
			return nil
		}
		p.lack("%s of the host at %s: --file %s=PATH", v.HostPath.Path, target, target)
		return nil
	}
	files, lacking := p.files(v)
	if lacking != "" {
		p.lack("%s at %s: --file %s=PATH", lacking, target, target)
		return nil
	}
	return p.write(target, m, files)
}

// isGiven reports whether the command line has something for a path, or for files below it.
func (p *Plan) isGiven(target string) bool {
	for given := range p.paths {
		if given == target || strings.HasPrefix(given, target+"/") {
			return true
		}
	}
	return false
}

// files returns the files of a volume by their names. If they are not in the manifest, lacking says
// what they are.
func (p *Plan) files(v *core.Volume) (all map[string]string, lacking string) {
	all = make(map[string]string)
	take := func(what, name string, data map[string]string, ok, optional bool, items []core.KeyToPath) {
		if !ok {
			if !optional && lacking == "" {
				lacking = what + " " + name
			}
			return
		}
		for key, value := range data {
			if len(items) == 0 {
				all[key] = value
			}
		}
		for _, item := range items {
			if value, there := data[item.Key]; there {
				all[item.Path] = value
			} else if !optional && lacking == "" {
				lacking = fmt.Sprintf("the key %s of %s %s", item.Key, what, name)
			}
		}
	}
	configMap := func(name string, optional *bool, items []core.KeyToPath) {
		data, ok := p.configMap(name)
		take("ConfigMap", name, data, ok, isTrue(optional), items)
	}
	secret := func(name string, optional *bool, items []core.KeyToPath) {
		data, ok := p.secret(name)
		take("Secret", name, data, ok, isTrue(optional), items)
	}
	downward := func(items []core.DownwardAPIVolumeFile) {
		for i := range items {
			if ref := items[i].FieldRef; ref != nil {
				var known bool
				if all[items[i].Path], known = p.field(ref.FieldPath); !known {
					lacking = fmt.Sprintf("the field %s of the pod", ref.FieldPath)
				}
			} else if ref := items[i].ResourceFieldRef; ref != nil {
				all[items[i].Path] = p.resource(ref)
			}
		}
	}
	switch {
	case v.ConfigMap != nil:
		configMap(v.ConfigMap.Name, v.ConfigMap.Optional, v.ConfigMap.Items)
	case v.Secret != nil:
		secret(v.Secret.SecretName, v.Secret.Optional, v.Secret.Items)
	case v.DownwardAPI != nil:
		downward(v.DownwardAPI.Items)
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			switch s := &v.Projected.Sources[i]; {
			case s.ConfigMap != nil:
				configMap(s.ConfigMap.Name, s.ConfigMap.Optional, s.ConfigMap.Items)
			case s.Secret != nil:
				secret(s.Secret.Name, s.Secret.Optional, s.Secret.Items)
			case s.DownwardAPI != nil:
				downward(s.DownwardAPI.Items)
			default:
				lacking = "a token or certificate of volume " + v.Name
			}
		}
	case v.PersistentVolumeClaim != nil:
		lacking = "PersistentVolumeClaim " + v.PersistentVolumeClaim.ClaimName
	default:
		lacking = "the volume " + v.Name
	}
	return all, lacking
}

// empty creates an empty directory for a mount. If this machine has something at this path, that is
// used instead.
func (p *Plan) empty(target string, m *core.VolumeMount, what string) error {
	if info, err := os.Stat(target); err == nil && info.IsDir() && what == "" && p.given.Image == nil {
		return nil
	}
	if what != "" {
		p.note("%s at %s is empty: --file %s=PATH gives it what it has in the cluster", what, target, target)
	}
	return p.write(target, m, nil)
}

// write creates a directory with files for a mount. Mounts of one volume share one directory.
func (p *Plan) write(target string, m *core.VolumeMount, files map[string]string) error {
	at, err := p.directory(m.Name, files)
	if err != nil {
		return fmt.Errorf("make the files of volume %s: %w", m.Name, err)
	}
	if m.SubPath != "" {
		if !filepath.IsLocal(m.SubPath) {
			return p.workload.errorAt(p.workload.pod, "the subPath %s of volume %s leads out of it", m.SubPath, m.Name)
		}
		at = filepath.Join(at, m.SubPath)
		if _, err := os.Stat(at); err != nil && files == nil {
			if err := os.MkdirAll(at, 0o700); err != nil {
				return fmt.Errorf("make the files of volume %s: %w", m.Name, err)
			}
		}
	}
	p.paths[target] = at
	return nil
}

// directory returns the directory of a volume. It creates the directory with its files the first
// time.
func (p *Plan) directory(volume string, files map[string]string) (at string, err error) {
	if at := p.made[volume]; at != "" {
		return at, nil
	}
	if p.dir == "" {
		if p.dir, p.remove, err = unpacked.Temporary(); err != nil {
			return "", err
		}
	}
	at, err = os.MkdirTemp(p.dir, "volume-")
	if err != nil {
		return "", err
	}
	root, err := os.OpenRoot(at)
	if err != nil {
		return "", err
	}
	defer root.Close()
	for name, content := range files {
		if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
			return "", err
		}
		if err := root.WriteFile(name, []byte(content), 0o600); err != nil {
			return "", err
		}
	}
	p.made[volume] = at
	return at, nil
}
