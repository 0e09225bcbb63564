# An application by Rack: /slow takes a second and a half.
run(lambda do |env|
  sleep 1.5 if env['PATH_INFO'] == '/slow'
  [200, { 'Content-Type' => 'text/plain' }, ["hello\n"]]
end)
