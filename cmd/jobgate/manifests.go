package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/jobgate/jobgate/manifests"
)

func newManifestsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "manifests [FILE | FOLDER]...",
		Short: "List the manifests in this program, or print some for kubectl",
		Long: "List the manifests in this program, or print some for kubectl: examples of RBAC, admission policies, restrictions,\n" +
			"the include for CI jobs, and what init makes its files from. They are those of the repository's folder manifests.",
		Example: "  jobgate manifests\n" +
			"  jobgate manifests rbac/ci-job-view.yaml\n" +
			"  jobgate manifests admission | kubectl apply --filename=-",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listManifests(cmd.OutOrStdout())
			}
			var all []string
			for _, arg := range args {
				files, err := manifestsUnder(path.Clean(arg))
				if err != nil {
					return err
				}
				all = append(all, files...)
			}
			return printManifests(cmd.OutOrStdout(), all)
		},
	}
}

// manifestsUnder are the files of a folder, in their order, or the file itself.
func manifestsUnder(name string) (files []string, err error) {
	err = fs.WalkDir(manifests.Files, name, func(file string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, file)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find manifest %q: %w; jobgate manifests lists those there are", name, err)
	}
	return files, nil
}

// printManifests prints YAML documents one after the other.
func printManifests(w io.Writer, files []string) error {
	for i, file := range files {
		text, err := manifests.Files.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read manifest %s: %w", file, err)
		}
		if i > 0 && !bytes.HasPrefix(text, []byte("---\n")) {
			text = append([]byte("---\n"), text...)
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	return nil
}

// listManifests prints each file with the beginning of its comment.
func listManifests(w io.Writer) error {
	files, err := manifestsUnder(".")
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, file := range files {
		text, err := manifests.Files.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read manifest %s: %w", file, err)
		}
		if _, err := fmt.Fprintf(t, "%s\t%s\n", file, firstSentence(text)); err != nil {
			return err
		}
	}
	return t.Flush()
}

// firstSentence is that of the comment which a manifest begins with; empty where it begins otherwise.
func firstSentence(text []byte) string {
	var comment strings.Builder
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line, ok := strings.CutPrefix(lines.Text(), "#")
		if !ok || line == "" {
			break
		}
		comment.WriteString(line)
		if strings.HasSuffix(line, ":") {
			break // a list or an example follows
		}
	}
	sentence, _, _ := strings.Cut(comment.String()+" ", ". ")
	return strings.TrimRight(strings.TrimSpace(sentence), ".:")
}
