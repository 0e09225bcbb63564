// Command bom writes a bill of materials and the licence texts of a built Go program:
//
//	bom [-sbom FILE] [-licenses DIR -module DIR] PROGRAM
//
// With -sbom it writes a bill of materials, CycloneDX in JSON. With -licenses it copies the licence
// texts of every module that is linked into the program, and of Go's standard library, into a
// directory. -module is the directory of the program's go.mod; its modules must be in the module
// cache. A module without a licence text is an error.
//
// Both use the build information that the go command has written into the program. They list what
// was linked, not what a go.mod requires. The same program gives the same files.
package main

import (
	"cmp"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strings"
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("bom", flag.ContinueOnError)
	flags.SetOutput(stderr)
	sbom := flags.String("sbom", "", "write the bill of materials into this file")
	licenses := flags.String("licenses", "", "copy licence texts below this directory")
	module := flags.String("module", ".", "directory of the program's go.mod")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() != 1 || *sbom == "" && *licenses == "" {
		fmt.Fprintln(stderr, "bom: name a program, and -sbom or -licenses")
		return 2
	}
	info, err := buildinfo.ReadFile(flags.Arg(0))
	if err == nil && *sbom != "" {
		err = writeSBOM(*sbom, info)
	}
	if err == nil && *licenses != "" {
		err = copyLicenses(*licenses, *module, info)
	}
	if err != nil {
		fmt.Fprintln(stderr, "bom:", err)
		return 1
	}
	return 0
}

// A bill of materials as https://cyclonedx.org/docs/1.5/json describes it.
type bill struct {
	Format       string       `json:"bomFormat"`
	Spec         string       `json:"specVersion"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Ref        string     `json:"bom-ref"`
	Type       string     `json:"type"`
	Name       string     `json:"name"`
	Version    string     `json:"version,omitempty"`
	Scope      string     `json:"scope,omitempty"`
	URL        string     `json:"purl"`
	Properties []property `json:"properties,omitempty"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref string   `json:"ref"`
	On  []string `json:"dependsOn,omitempty"`
}

func writeSBOM(file string, info *debug.BuildInfo) error {
	program := newComponent("application", info.Main.Path, info.Main.Version, "")
	for _, s := range info.Settings {
		program.Properties = append(program.Properties, property{"go:build:" + s.Key, s.Value})
	}
	b := bill{Format: "CycloneDX", Spec: "1.5", Version: 1, Metadata: metadata{program}}
	b.Components = append(b.Components, newComponent("library", "std", strings.TrimPrefix(info.GoVersion, "go"), ""))
	for _, m := range linked(info) {
		b.Components = append(b.Components, newComponent("library", m.Path, m.Version, m.Sum))
	}
	all := dependency{Ref: program.Ref}
	for i, c := range b.Components {
		b.Components[i].Scope = "required"
		all.On = append(all.On, c.Ref)
	}
	b.Dependencies = []dependency{all}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644) //nolint:gosec // all users may read it
}

// linked returns the modules that are linked into a program, sorted by path, with replacements in
// place of the modules that they replace. A module that was replaced by a directory keeps its path
// and has no version.
func linked(info *debug.BuildInfo) (all []debug.Module) {
	for _, m := range info.Deps {
		switch r := m.Replace; {
		case r == nil:
			all = append(all, *m)
		case r.Version == "" || r.Version == "(devel)": // a directory
			all = append(all, debug.Module{Path: m.Path})
		default:
			all = append(all, *r)
		}
	}
	slices.SortFunc(all, func(a, b debug.Module) int { return cmp.Compare(a.Path, b.Path) })
	return all
}

func newComponent(kind, path, version, sum string) component {
	if version == "(devel)" {
		version = ""
	}
	c := component{Type: kind, Name: path, Version: version, URL: "pkg:golang/" + strings.ToLower(path)}
	if version != "" {
		c.URL += "@" + url.QueryEscape(version)
	}
	c.Ref = c.URL
	if sum != "" {
		c.Properties = []property{{"go:sum", sum}}
	}
	return c
}

var errNoLicense = errors.New("no licence text is in it: it may not be passed on without one")
