// Command oracle prints the reference Dockerfile front end's view of each file named on standard input, one JSON line
// per file. With the argument "references" its input is JSON strings, and it prints their normal forms.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"

	_ "crypto/sha256"
	_ "crypto/sha512"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

type Ref struct {
	Line       int      `json:"line"`
	Kind       string   `json:"kind"`
	Raw        string   `json:"raw"`
	Expanded   string   `json:"expanded"`
	Normalized *string  `json:"normalized"`
	Error      *string  `json:"error"`
	Unmatched  []string `json:"unmatched,omitempty"`
}
type Answer struct {
	Path       string   `json:"path"`
	References []Ref    `json:"references"`
	Stages     []string `json:"stages"`
	Error      *string  `json:"error"`
}

type env struct{ m map[string]string }

func (e *env) Get(k string) (string, bool) { v, ok := e.m[k]; return v, ok }
func (e *env) Keys() []string {
	var k []string
	for n := range e.m {
		k = append(k, n)
	}
	return k
}

func normal(r *Ref) {
	n, err := reference.ParseNormalizedNamed(r.Expanded)
	if err != nil {
		s := err.Error()
		r.Error = &s
		return
	}
	s := reference.TagNameOnly(n).String()
	r.Normalized = &s
}

func answer(path string) (a Answer) {
	a.Path = path
	a.References = []Ref{}
	// The front end itself panics on some files (a directive behind an empty comment); that is a result too.
	defer func() {
		if r := recover(); r != nil {
			s := fmt.Sprint("panic: ", r)
			a.Error = &s
		}
	}()
	dt, err := os.ReadFile(path)
	fail := func(k string, err error) { s := k + ": " + err.Error(); a.Error = &s }
	if err != nil {
		fail("read", err)
		return
	}
	if ref, _, loc, ok := parser.DetectSyntax(dt); ok {
		r := Ref{Line: loc[0].Start.Line, Kind: "syntax", Raw: ref, Expanded: ref}
		normal(&r)
		a.References = append(a.References, r)
	}
	res, err := parser.Parse(bytes.NewReader(dt))
	if err != nil {
		fail("parse", err)
		return
	}
	stages, meta, err := instructions.Parse(res.AST, nil)
	if err != nil {
		fail("instructions", err)
		return
	}
	if len(stages) == 0 {
		fail("stages", errors.New("dockerfile contains no stages to build"))
		return
	}
	target := stages[len(stages)-1].Name
	if target == "" {
		target = "default"
	}
	e := &env{map[string]string{"BUILDPLATFORM": "linux/amd64", "BUILDOS": "linux", "BUILDOSVERSION": "", "BUILDARCH": "amd64", "BUILDVARIANT": "", "TARGETPLATFORM": "linux/amd64", "TARGETOS": "linux", "TARGETOSVERSION": "", "TARGETARCH": "amd64", "TARGETVARIANT": "", "TARGETSTAGE": target}}
	lex := shell.NewLex(res.EscapeToken)
	for _, cmd := range meta {
		for _, kp := range cmd.Args {
			if kp.Value != nil {
				r, err := lex.ProcessWordWithMatches(*kp.Value, e)
				if err != nil {
					fail("meta", err)
					return
				}
				e.m[kp.Key] = r.Result
			}
		}
	}
	names := map[string]bool{}
	var out []Ref
	bases := make([]*Ref, len(stages))
	for i := range stages {
		st := &stages[i]
		m, err := lex.ProcessWordWithMatches(st.BaseName, e)
		line := st.Location[0].Start.Line
		r := Ref{Line: line, Kind: "from", Raw: st.BaseName, Expanded: m.Result}
		for k := range m.Unmatched {
			r.Unmatched = append(r.Unmatched, k)
		}
		sort.Strings(r.Unmatched)
		if err != nil {
			s := "expand: " + err.Error()
			r.Error = &s
			bases[i] = &r
		} else if m.Result == "" {
			s := "blank"
			r.Error = &s
			bases[i] = &r
		} else if names[m.Result] || m.Result == "scratch" {
		} else {
			normal(&r)
			bases[i] = &r
		}
		if st.Platform != "" && a.Error == nil {
			if p, err := lex.ProcessWordWithMatches(st.Platform, e); err != nil {
				fail("platform", err)
			} else if p.Result == "" {
				fail("platform", errors.New("empty platform value from expression "+st.Platform))
			}
		}
		if st.Name != "" {
			names[strings.ToLower(st.Name)] = true
		}
		a.Stages = append(a.Stages, st.Name)
	}
	var addCmd func(c interface{}, line int, prefix string)
	addCmd = func(c interface{}, line int, prefix string) {
		switch c := c.(type) {
		case *instructions.CopyCommand:
			if c.From == "" {
				return
			}
			r := Ref{Line: line, Kind: prefix + "copy-from", Raw: c.From, Expanded: c.From}
			m, err := lex.ProcessWordWithMatches(c.From, &env{map[string]string{}})
			if err != nil {
				s := "expand: " + err.Error()
				r.Error = &s
				out = append(out, r)
				return
			}
			if m.Result != c.From {
				s := "variable expansion is not supported for --from"
				r.Error = &s
				out = append(out, r)
				return
			}
			if index, err := strconv.Atoi(c.From); err == nil {
				if prefix == "" && (index < 0 || index >= len(stages)) {
					fail("copy", errors.New("invalid stage index "+c.From))
				}
				return
			}
			if names[strings.ToLower(c.From)] || c.From == "scratch" {
				return
			}
			normal(&r)
			out = append(out, r)
		case *instructions.RunCommand:
			for _, m := range instructions.GetMounts(c) {
				if m.From == "" || names[strings.ToLower(m.From)] || m.From == "scratch" {
					continue
				}
				r := Ref{Line: line, Kind: prefix + "mount-from", Raw: m.From, Expanded: m.From}
				normal(&r)
				out = append(out, r)
			}
		case *instructions.OnbuildCommand:
			p, err := parser.Parse(strings.NewReader(c.Expression))
			if err != nil || len(p.AST.Children) != 1 {
				return
			}
			ic, err := instructions.ParseCommand(p.AST.Children[0])
			if err != nil {
				return
			}
			addCmd(ic, line, "onbuild-")
		}
	}
	for i := range stages {
		if bases[i] != nil {
			out = append(out, *bases[i])
		}
		for _, c := range stages[i].Commands {
			addCmd(c, c.Location()[0].Start.Line, "")
		}
	}
	a.References = append(a.References, out...)
	return
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "references" {
		sc := bufio.NewScanner(os.Stdin)
		sc.Buffer(make([]byte, 1<<20), 1<<26)
		w := bufio.NewWriter(os.Stdout)
		defer w.Flush()
		for sc.Scan() {
			var s string
			if json.Unmarshal(sc.Bytes(), &s) != nil {
				continue
			}
			r := Ref{Expanded: s}
			normal(&r)
			b, _ := json.Marshal(r)
			fmt.Fprintln(w, string(b))
		}
		return
	}
	sc := bufio.NewScanner(os.Stdin)
	w := bufio.NewWriter(os.Stdout)
	defer w.Flush()
	for sc.Scan() {
		b, _ := json.Marshal(answer(sc.Text()))
		fmt.Fprintln(w, string(b))
	}
}
