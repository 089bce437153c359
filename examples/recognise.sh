#!/bin/sh
# A recogniser for `dragoman node`: the audio of one utterance comes on stdin, the result goes to
# stdout; DRAGOMAN_* say what it is. Run:
#
#   npx dragoman node --pools en:en --slots 2 --wav -- sh examples/recognise.sh
#
# Here pocketsphinx (apt-get install pocketsphinx pocketsphinx-en-us sox) hears English. Put your
# own program in its place: plain text on stdout becomes {"transcript": text}; a JSON object is the
# output as it stands, where "audio_file" names a file that becomes its `audio`. Exit code 2 says
# that no other node could do better, any other failure is tried elsewhere.
set -eu

[ "$DRAGOMAN_SRC" = en ] || { echo "only English is understood" >&2; exit 2; }

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

sox -t wav - -r 16000 -c 1 -b 16 -e signed -t raw "$dir/utterance.raw"
echo "$dir/utterance" | pocketsphinx_batch \
  -hmm /usr/share/pocketsphinx/model/en-us/en-us \
  -lm /usr/share/pocketsphinx/model/en-us/en-us.lm.bin \
  -dict /usr/share/pocketsphinx/model/en-us/cmudict-en-us.dict \
  -adcin yes -cepext .raw -ctl /dev/stdin -hyp /dev/stdout 2>/dev/null |
  sed 's/ *([^()]*)$//'
