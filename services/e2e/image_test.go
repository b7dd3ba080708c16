package e2e

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// instructions reads deploy/Dockerfile: one line for each instruction, without comments.
func instructions(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repository(t), "deploy", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.SplitSeq(strings.ReplaceAll(string(data), "\\\n", " "), "\n") {
		line = strings.Join(strings.Fields(line), " ")
		if line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// It shows SEC-69 of deploy/SECURITY.md.
func TestDockerfile_MakesASmallImageWithoutPrivileges(t *testing.T) {
	t.Parallel()
	lines := instructions(t)
	last := slices.Index(lines, "FROM scratch")
	if last < 0 {
		t.Fatal("the image is not made from nothing")
	}
	build, image := lines[:last], lines[last+1:]
	if !regexp.MustCompile(`^FROM --platform=\$BUILDPLATFORM golang:1\.26\.\d+ AS build$`).MatchString(build[0]) {
		t.Errorf("it is built by %s", build[0])
	}
	if !slices.Contains(build, "ARG SERVICE") {
		t.Error("it has no argument SERVICE")
	}
	compile := slices.IndexFunc(build, func(l string) bool { return strings.Contains(l, "go build") })
	if compile < 0 {
		t.Fatal("nothing is compiled")
	}
	for _, part := range []string{"CGO_ENABLED=0", "-trimpath", "./services/${SERVICE:?"} {
		if !strings.Contains(build[compile], part) {
			t.Errorf("%s is missing in %s", part, build[compile])
		}
	}
	for _, want := range []string{
		"COPY --from=build /out/process /process",
		"COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt",
		"USER 65532:65532",
		`ENTRYPOINT ["/process"]`,
	} {
		if !slices.Contains(image, want) {
			t.Errorf("the image has no %s", want)
		}
	}
	for _, line := range image {
		word, _, _ := strings.Cut(line, " ")
		if !slices.Contains([]string{"COPY", "USER", "ENTRYPOINT"}, word) {
			t.Errorf("the image does not need %s", line)
		}
	}
}

// A volume that hand-out writes into takes its owner from the folder of the image.
func TestDockerfile_HasAFolderForEveryVolumeOfHandOut(t *testing.T) {
	t.Parallel()
	all := strings.Join(instructions(t), "\n")
	list := regexp.MustCompile(`for volume in ([a-z -]+);`).FindStringSubmatch(all)
	if list == nil {
		t.Fatal("the Dockerfile makes no folders")
	}
	folders := []string{"/doorcode", "/operator"}
	for _, name := range strings.Fields(list[1]) {
		folders = append(folders, "/volumes/"+name)
	}
	for name, c := range compose(t).Services {
		if c.service() == "" {
			continue
		}
		for _, m := range c.mounts(t) {
			owned := slices.Contains(folders, m.path) || slices.Contains([]string{"/demo", "/console"}, m.path) && mounted(t, "hand-out", m.volume)
			if !owned {
				t.Errorf("%s mounts %s at %s, which is no folder of the image", name, m.volume, m.path)
			}
		}
	}
}

// mounted reports whether a container mounts a volume.
func mounted(t *testing.T, name, volume string) bool {
	t.Helper()
	return slices.ContainsFunc(compose(t).Services[name].mounts(t), func(m mount) bool { return m.volume == volume })
}

func TestDockerfile_SeesTheModuleAndNothingElse(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(repository(t), "deploy", "Dockerfile.dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			rules = append(rules, line)
		}
	}
	want := []string{"*", "!go.mod", "!go.sum", "!deploy", "!pkg", "!schemas", "!services", "**/*_test.go"}
	if !slices.Equal(rules, want) {
		t.Errorf("the build sees %v", rules)
	}
}

// Every binary runs without anything beside it: no interpreter, no shared library. It is built as the Dockerfile does.
// It shows SEC-69 of deploy/SECURITY.md.
func TestBinaries_AreStatic(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir, "./services/...")
	build.Dir = repository(t)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := build.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	mains, err := filepath.Glob(filepath.Join(repository(t), "services", "*", "main.go"))
	if err != nil || len(mains) == 0 {
		t.Fatalf("no processes: %v", err)
	}
	for _, main := range mains {
		name := filepath.Base(filepath.Dir(main))
		binary, err := elf.Open(filepath.Join(dir, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC }) {
			t.Errorf("%s needs an interpreter", name)
		}
		libraries, err := binary.ImportedLibraries()
		if len(libraries) > 0 {
			t.Errorf("%s needs %v, %v", name, libraries, err)
		}
		err = binary.Close()
		if err != nil {
			t.Error(err)
		}
	}
}
