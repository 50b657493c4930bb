-- wrk: the same question about one component after another. BENCH_PATH holds it with %d for the
-- number, BENCH_COUNT how many components there are.
local path = os.getenv("BENCH_PATH")
local count = tonumber(os.getenv("BENCH_COUNT"))
local asked = 0

function request()
   asked = (asked + 7919) % count
   return "GET " .. path:format(asked) .. " HTTP/1.1\r\nHost: localhost\r\n\r\n"
end
