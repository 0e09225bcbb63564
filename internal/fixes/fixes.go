// Package fixes has findings of rehearsals as programs: for a code and a language, a small program
// that makes the mistake, and the same program without the mistake. Tests of package rehearse
// rehearse both: the first one fails for that reason alone, and the second one passes.
package fixes

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"
)

//go:embed programs
var programs embed.FS

// Language is a programming language in which there are programs.
type Language string

// The languages.
const (
	Go     Language = "go"
	Node   Language = "node"
	Python Language = "python"
	Java   Language = "java"
	Ruby   Language = "ruby"
)

// Languages returns all of them, in that order.
func Languages() []Language { return []Language{Go, Node, Python, Java, Ruby} }

// String returns the language's name for people.
func (l Language) String() string {
	return map[Language]string{Go: "Go", Node: "Node.js", Python: "Python", Java: "Java", Ruby: "Ruby"}[l]
}

// file returns the path of the program with a name, below programs.
func (l Language) file(name string) string {
	if l == Go {
		return "go/" + name + "/main.go" // each is a package
	}
	return string(l) + "/" + name + map[Language]string{Node: ".js", Python: ".py", Java: ".java", Ruby: ".rb"}[l]
}

// fixed maps a code to the name of the program without the mistake.
var fixed = map[string]string{
	"LC101": "worker",
	"LC102": "job",
	"LC103": "server",
	"LC104": "server",
	"LC105": "server",
	"LC106": "worker",
	"LC107": "worker",
	"LC108": "server",
	"LC113": "server",
	"LC114": "server",
	"LC116": "loader",
	"LC121": "commands",
	"LC122": "starter",
	"LC123": "twice",
	"LC124": "logger",
	"LC141": "events",
	"LC142": "websockets",
	"LC143": "http2",
	"LC144": "database",
	"LC145": "lines",
}

// Fix is a mistake and its correction, for one code in one language.
type Fix struct {
	Code     string
	Language Language
	// Broken makes the mistake, Fixed does not.
	Broken, Fixed Program
}

// Program is the source of a complete program.
type Program struct {
	// File is its name below internal/fixes/programs.
	File string
	Text string
}

// Codes returns the codes for which there are programs, in order.
func Codes() []string {
	var codes []string
	for code := range fixed {
		codes = append(codes, code)
	}
	slices.Sort(codes)
	return codes
}

// ErrLanguage means that there are no programs in a language.
var ErrLanguage = errors.New("there are no programs")

// Find returns the programs for a code. The error gives the reason if there are none.
func Find(code string, l Language) (*Fix, error) {
	if !slices.Contains(Languages(), l) {
		return nil, fmt.Errorf("%w in %q: the languages are %v", ErrLanguage, string(l), names(Languages()))
	}
	twin, ok := fixed[code]
	if !ok {
		return nil, fmt.Errorf("there is no program for %s: %s", code, cmp.Or(without[code], "what to change is not in the program"))
	}
	if why := none[key{code, l}]; why != "" {
		return nil, fmt.Errorf("there is no program for %s in %s: %s", code, l, why)
	}
	broken, err := read(l.file(code))
	if err != nil {
		return nil, err
	}
	right, err := read(l.file(twin))
	if err != nil {
		return nil, err
	}
	return &Fix{Code: code, Language: l, Broken: broken, Fixed: right}, nil
}

// Without returns the reason why there are no programs for a code of package rehearse, in a few
// words. It is empty if there are some.
func Without(code string) string { return without[code] }

var without = map[string]string{
	"LC109": "it is about the address and the rate of the rehearsal",
	"LC110": "that of LC102 has it, if it waits for almost as long as the grace",
	"LC111": "it is about the preStop hook",
	"LC112": "it is about the preStop hook and the grace",
	"LC115": "it is about the numbers of the probe, what it depends on, or a program that hangs",
	"LC117": "it is about the numbers of the probe",
	"LC118": "it is about a sidecar",
	"LC119": "it is about a sidecar",
	"LC125": "it is about what the program shares with its copy: a lock, a file, a port",
	"LC126": "it is about what the program shares with its copy: files, sockets, rows",
}

// Lacking is a reason why a mistake has no programs in some languages.
type Lacking struct {
	// Languages are those to which the reason applies.
	Languages []Language
	// Why is the reason, in a few words.
	Why string
}

// In returns the languages in which there are programs for a code, and for the others the reason
// why not.
func In(code string) (have []Language, lack []Lacking) {
	if fixed[code] == "" {
		return nil, nil
	}
	for _, l := range Languages() {
		why := none[key{code, l}]
		i := slices.IndexFunc(lack, func(one Lacking) bool { return one.Why == why })
		switch {
		case why == "":
			have = append(have, l)
		case i >= 0:
			lack[i].Languages = append(lack[i].Languages, l)
		default:
			lack = append(lack, Lacking{Languages: []Language{l}, Why: why})
		}
	}
	return have, lack
}

type key struct {
	code     string
	language Language
}

// none has the reason why a mistake has no programs in a language.
var none = map[key]string{
	{"LC107", Java}:   "the Java virtual machine has a handler for SIGTERM of its own and ends with exit code 143, see LC106",
	{"LC123", Java}:   "the Java virtual machine takes no second signal once its end has begun",
	{"LC142", Java}:   "the standard library has no server for WebSockets, and its HTTP server does not hand connections over",
	{"LC143", Python}: noHTTP2,
	{"LC143", Java}:   noHTTP2,
	{"LC143", Ruby}:   noHTTP2,
}

const noHTTP2 = "the standard library has no server for HTTP/2"

func read(file string) (Program, error) {
	text, err := programs.ReadFile("programs/" + file)
	if err != nil {
		return Program{}, fmt.Errorf("fixes: %w", err)
	}
	return Program{File: file, Text: string(text)}, nil
}

func names(languages []Language) string {
	var all []string
	for _, l := range languages {
		all = append(all, string(l))
	}
	return strings.Join(all, ", ")
}
