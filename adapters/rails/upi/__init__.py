"""UPI: links and QR payloads, messages, response codes, and the rail.

The messages have the names and the shape of NPCI's public UPI API (ReqPay, RespPay, ReqChkTxn, RespChkTxn, ReqValAdd,
RespValAdd), but they are our rendering of it: from public facts, with the elements that decide what happens to money. A
device, credentials and signatures (XML-DSig, and `sign` in links) are left out, and so is the acknowledgement that goes
before every answer: an answer comes with the request's own HTTP response.
"""
