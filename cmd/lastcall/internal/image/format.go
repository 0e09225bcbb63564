package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// chosen is the one image that will be unpacked.
type chosen struct {
	config config
	layers []string // names of files, the lowest first
}

// config is an image's configuration, with the fields that Docker has added.
type config struct {
	v1.Image
	Config struct {
		v1.ImageConfig
		Healthcheck *healthConfig
	} `json:"config"`
}

// choose finds the image for this machine, and its configuration.
func choose(f files) (*chosen, error) {
	c := new(chosen)
	docker, err := text(f, "manifest.json")
	var raw []byte
	switch {
	case err == nil:
		raw, err = c.docker(f, docker)
	case errors.Is(err, fs.ErrNotExist):
		raw, err = c.oci(f)
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &c.config); err != nil {
		return nil, fmt.Errorf("the configuration is no JSON of an image: %w", err)
	}
	if system := c.config.OS; system != "" && system != "linux" {
		return nil, fmt.Errorf("it is for %s, and containers of Linux can be rehearsed alone", system)
	}
	if kind := c.config.Architecture; kind != "" && kind != runtime.GOARCH {
		return nil, fmt.Errorf("it is for %s, and this machine is %s: build or pull it with --platform linux/%s", kind, runtime.GOARCH, runtime.GOARCH)
	}
	if len(c.layers) > maxLayers {
		return nil, fmt.Errorf("it has %d layers, more than %d", len(c.layers), maxLayers)
	}
	if len(c.layers) != len(c.config.RootFS.DiffIDs) {
		return nil, fmt.Errorf("it is damaged: it has %d layers, and its configuration names %d", len(c.layers), len(c.config.RootFS.DiffIDs))
	}
	for _, d := range c.config.RootFS.DiffIDs {
		if err := d.Validate(); err != nil {
			return nil, fmt.Errorf("it is damaged: the checksum of a layer, %q: %w", d, err)
		}
	}
	return c, nil
}

// docker reads the list of images that docker save writes.
func (c *chosen) docker(f files, manifest []byte) (config []byte, err error) {
	var images []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(manifest, &images); err != nil {
		return nil, fmt.Errorf("manifest.json is not as docker save writes it: %w", err)
	}
	if len(images) != 1 {
		var names []string
		for _, i := range images {
			names = append(names, i.RepoTags...)
		}
		return nil, severalImages(len(images), names)
	}
	c.layers = images[0].Layers
	return text(f, images[0].Config)
}

// severalImages is the error of an archive of several images, or of none.
func severalImages(n int, names []string) error {
	return fmt.Errorf("it has %d images (%s): save one alone", n, shown(strings.Join(names, ", ")))
}

// maxNested bounds how deep indexes are nested.
const maxNested = 4

// oci reads a layout of the Open Container Initiative.
func (c *chosen) oci(f files) (config []byte, err error) {
	raw, err := text(f, v1.ImageIndexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoImage
	}
	for range maxNested {
		if err != nil {
			return nil, err
		}
		var either struct { // of an index or of a manifest
			v1.Index
			Config v1.Descriptor
			Layers []v1.Descriptor
		}
		if err := json.Unmarshal(raw, &either); err != nil {
			return nil, fmt.Errorf("an index or a manifest is no JSON of an image: %w", err)
		}
		if len(either.Manifests) == 0 {
			for _, l := range either.Layers {
				if strings.HasSuffix(l.MediaType, "+encrypted") {
					return nil, errors.New("its layers are encrypted")
				}
				name, err := blob(l)
				if err != nil {
					return nil, err
				}
				c.layers = append(c.layers, name)
			}
			return checked(f, either.Config)
		}
		one, err := fitting(either.Manifests)
		if err != nil {
			return nil, err
		}
		raw, err = checked(f, one)
		if err != nil {
			return nil, err
		}
	}
	return nil, errors.New("its indexes are too deep in each other")
}

// fitting returns the manifest for this machine.
func fitting(all []v1.Descriptor) (v1.Descriptor, error) {
	var others []string
	all = slices.DeleteFunc(slices.Clone(all), func(d v1.Descriptor) bool {
		p := d.Platform
		if p == nil || p.OS == "linux" && p.Architecture == runtime.GOARCH {
			return false
		}
		if p.OS != "unknown" { // this one is an attestation about another image
			others = append(others, p.OS+"/"+p.Architecture)
		}
		return true
	})
	if len(all) == 0 {
		return v1.Descriptor{}, fmt.Errorf("it has no image for linux/%s: %s", runtime.GOARCH, shown(strings.Join(others, ", ")))
	}
	// An image may have several tags. Those of one platform with a name each are different images.
	var names []string
	digests := make(map[digest.Digest]bool)
	for _, d := range all {
		digests[d.Digest] = true
		names = append(names, d.Annotations[v1.AnnotationRefName])
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(digests) > 1 && (all[0].Platform == nil || len(names) > 1) {
		return v1.Descriptor{}, severalImages(len(digests), names)
	}
	return all[0], nil
}

// blob returns the name of the file with a digest.
func blob(d v1.Descriptor) (string, error) {
	if err := d.Digest.Validate(); err != nil {
		return "", fmt.Errorf("it is damaged: the digest %q: %w", d.Digest, err)
	}
	return v1.ImageBlobsDir + "/" + string(d.Digest.Algorithm()) + "/" + d.Digest.Encoded(), nil
}

// checked returns a text, and an error if it does not have the digest that it must have.
func checked(f files, d v1.Descriptor) ([]byte, error) {
	name, err := blob(d)
	if err != nil {
		return nil, err
	}
	b, err := text(f, name)
	if err != nil {
		return nil, err
	}
	if d.Digest.Algorithm().FromBytes(b) != d.Digest {
		return nil, fmt.Errorf("it is damaged: %s has another checksum", name)
	}
	return b, nil
}
